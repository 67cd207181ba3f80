/* zone_open.c - strata/zone.h: a zone from a file of the system, or from a rule. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/tzif.h"
#include "src/os/os_file.h"
#include "src/policy/zone.h"
#include "strata/zone.h"

enum { FILE_MOST = 1 << 20, NAME_MOST = 255 };

#define DIRECTORY "/usr/share/zoneinfo"

static int fail_memory(strata_error *err) { return strata__fail_plain(err, STRATA_ENOMEM, "zone"); }

/* Down from the directory, and not out of it again. */
static int is_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_./";
    return name[0] != '/' && name[0] != '.' && strstr(name, "/.") == NULL && strspn(name, letters) == strlen(name);
}

static int from_rule(const char *text, size_t size, strata_zone *zone)
{
    zone->has_rule = strata__zone_rule_read(text, size, &zone->rule);
    return zone->has_rule;
}

static int from_file(const void *bytes, size_t size, const char *name, strata_zone *zone, strata_error *err)
{
    struct tzif t;
    if (!strata__tzif_read(bytes, size, &t) || (t.rule_size != 0 && !from_rule(t.rule, t.rule_size, zone)))
        return strata__fail(err, STRATA_EINVAL, "zone",
                            "\"%s\" is no zoneinfo file of version 2 or later: install tzdata anew, or give "
                            "the rule, such as \"CET-1CEST,M3.5.0,M10.5.0/3\"",
                            name);
    zone->changes = strata__alloc_array(NULL, t.count != 0 ? t.count : 1, sizeof *zone->changes);
    if (zone->changes == NULL)
        return fail_memory(err);
    zone->count = t.count;
    zone->first_s = strata__tzif_first_offset(&t);
    for (size_t i = 0; i < t.count; i++)
        zone->changes[i] = (struct zone_change){ .at_s = strata__tzif_moment(&t, i),
                                                 .offset_s = strata__tzif_offset(&t, i) };
    return STRATA_OK;
}

/* STRATA_MISS: there is no such file. */
static int read_file(const char *name, strata_zone *zone, strata_error *err)
{
    char path[4096];
    struct os_file_stat st;
    size_t got = 0;
    int fd = -1, rc = STRATA_OK;
    int length = snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : DIRECTORY "/", name);
    if (length < 0 || (size_t)length >= sizeof path)
        return STRATA_MISS;
    int error = strata__os_path_open(path, &fd);
    if (error == ENOENT || error == ENOTDIR)
        return STRATA_MISS;
    if (error == 0)
        error = strata__os_file_stat(fd, &st);
    unsigned char *bytes = error == 0 && st.regular && st.size <= FILE_MOST ? strata__alloc(NULL, (size_t)st.size + 1)
                                                                            : NULL;
    if (bytes != NULL)
        error = strata__os_file_read(fd, bytes, (size_t)st.size, 0, &got);
    if (error != 0)
        rc = strata__fail(err, STRATA_EIO, "zone", "%s can't be read: %s", path, strerror(error));
    else if (!st.regular || st.size > FILE_MOST)
        rc = STRATA_MISS;
    else
        rc = bytes != NULL ? from_file(bytes, got, name, zone, err) : fail_memory(err);
    strata__free(NULL, bytes);
    strata__os_file_close(fd);
    return rc;
}

int strata_zone_new(strata_zone **out, const char *name, strata_error *err)
{
    if (out != NULL)
        *out = NULL;
    if (out == NULL || name == NULL || name[0] == 0 || strlen(name) > NAME_MOST)
        return strata__fail(err, STRATA_EINVAL, "zone",
                            "strata_zone_new() needs a name of 1 to %d bytes, and where to put the zone",
                            (int)NAME_MOST);
    strata_zone *zone = strata__alloc_zero(NULL, sizeof *zone);
    if (zone == NULL)
        return fail_memory(err);
    int rc = name[0] == '/' || is_name(name) ? read_file(name, zone, err) : STRATA_MISS;
    if (rc == STRATA_MISS)
        rc = from_rule(name, strlen(name), zone)
                 ? STRATA_OK
                 : strata__fail(err, STRATA_EINVAL, "zone",
                                "\"%s\" is no zone in " DIRECTORY ", nor a rule such as "
                                "\"CET-1CEST,M3.5.0,M10.5.0/3\": install tzdata, or give the rule",
                                name);
    if (rc == STRATA_OK)
        *out = zone;
    else
        strata_zone_free(zone);
    return rc;
}

int64_t strata_zone_offset_ms(const strata_zone *zone, int64_t unix_ms)
{
    /* Whole seconds, downwards. */
    return zone != NULL ? 1000 * strata__zone_offset(zone, unix_ms / 1000 - (unix_ms % 1000 < 0)) : 0;
}

void strata_zone_free(strata_zone *zone)
{
    if (zone == NULL)
        return;
    strata__free(NULL, zone->changes);
    strata__free(NULL, zone);
}
