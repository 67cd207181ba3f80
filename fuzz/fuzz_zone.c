/* fuzz_zone.c - a zoneinfo file, or a rule, is read within its bytes or refused; and whatever it says, clocks have a next multiple,
 * which is in the future. */
#include <stdint.h>
#include <stdlib.h>

#include "src/format/tzif.h"
#include "src/policy/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void check(const struct strata_zone *zone)
{
    static const int64_t moments[] = { INT64_MIN, 0, 951782399999, 1774746000000, 4102444800000, INT64_MAX };
    static const int64_t spans[] = { 1, 3600000, 86400000, INT64_C(1) << 42 };
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++)
        for (size_t k = 0; k < sizeof spans / sizeof spans[0]; k++) {
            int64_t next = strata__zone_next(zone, moments[i], spans[k]);
            demand(moments[i] == INT64_MAX || next > moments[i]);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strata_zone zone = { 0 };
    struct tzif t;
    zone.has_rule = strata__zone_rule_read((const char *)data, size, &zone.rule);
    if (zone.has_rule)
        check(&zone);
    zone = (struct strata_zone){ 0 };
    if (!strata__tzif_read(data, size, &t))
        return 0;
    if (t.rule_size != 0)
        zone.has_rule = strata__zone_rule_read(t.rule, t.rule_size, &zone.rule);
    zone.first_s = strata__tzif_first_offset(&t);
    zone.changes = calloc(t.count != 0 ? t.count : 1, sizeof *zone.changes);
    zone.count = zone.changes != NULL ? t.count : 0;
    for (size_t i = 0; i < zone.count; i++)
        zone.changes[i] = (struct zone_change){ .at_s = strata__tzif_moment(&t, i),
                                                .offset_s = strata__tzif_offset(&t, i) };
    check(&zone);
    free(zone.changes);
    return 0;
}
