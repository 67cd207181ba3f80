/* replay_plan.c - see replay_plan.h. */
#include "cli/replay_plan.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli_error.h"

/* What --policy all shows, simplest first. */
static const char *const policy_names[] = { "fifo", "lru", "lfu", "sieve", "s3-fifo", "w-tinylfu", "cost" };
enum { POLICY_NAMES = sizeof policy_names / sizeof policy_names[0] };

static int parse_size(struct plan_size *out, const char *text, size_t length)
{
    char number[32];
    char *end;

    if (length == 0 || length >= sizeof number || text[0] < '0' || text[0] > '9')
        return -1;
    memcpy(number, text, length);
    number[length] = '\0';
    if (number[length - 1] == '%') {
        if (strspn(number, "0123456789.") != length - 1)
            return -1;
        out->entries = 0;
        out->percent = strtod(number, &end);
        return strcmp(end, "%") == 0 && out->percent > 0 && out->percent <= 100 ? 0 : -1;
    }
    if (strspn(number, "0123456789") != length || length > 12)
        return -1;
    out->entries = strtoull(number, &end, 10);
    return out->entries > 0 ? 0 : -1;
}

static int parse_sizes(struct replay_plan *plan, const char *text)
{
    while (text != NULL) {
        size_t length = strcspn(text, ",");

        if (plan->size_count == PLAN_SIZES)
            return cli_usage("--size: more than %d sizes; run strata twice", (int)PLAN_SIZES);
        if (parse_size(&plan->sizes[plan->size_count], text, length) != 0)
            return cli_usage("--size %.*s: give entries (5000) or a share of the different keys (1%%), "
                             "several with commas between them",
                             (int)length, text);
        plan->size_count++;
        text = text[length] == ',' ? text + length + 1 : NULL;
    }
    return CLI_OK;
}

static int add_policy(struct replay_plan *plan, const char *text, size_t length)
{
    size_t i;

    if (plan->policy_count == PLAN_POLICIES)
        return cli_usage("--policy: more than %d of them", (int)PLAN_POLICIES);
    for (i = 0; i < POLICY_NAMES; i++)
        if (strlen(policy_names[i]) == length && memcmp(policy_names[i], text, length) == 0) {
            plan->policies[plan->policy_count++] = policy_names[i];
            return CLI_OK;
        }
    return cli_usage("--policy %.*s: there are fifo, lru, lfu, sieve, s3-fifo, w-tinylfu, cost, and all", (int)length,
                     text);
}

static int parse_policies(struct replay_plan *plan, const char *text)
{
    if (text != NULL && strcmp(text, "all") == 0) {
        for (plan->policy_count = 0; plan->policy_count < POLICY_NAMES; plan->policy_count++)
            plan->policies[plan->policy_count] = policy_names[plan->policy_count];
        return CLI_OK;
    }
    while (text != NULL) {
        size_t length = strcspn(text, ",");
        int code = add_policy(plan, text, length);

        if (code != CLI_OK)
            return code;
        text = text[length] == ',' ? text + length + 1 : NULL;
    }
    return CLI_OK;
}

int replay_plan_parse(struct replay_plan *out, const char *sizes, const char *policies)
{
    int code;

    memset(out, 0, sizeof *out);
    code = parse_sizes(out, sizes);
    return code == CLI_OK ? parse_policies(out, policies) : code;
}

size_t replay_plan_count(const struct replay_plan *plan)
{
    size_t sizes = plan->size_count != 0 ? plan->size_count : 1;
    size_t policies = plan->policy_count != 0 ? plan->policy_count : 1;

    return sizes * policies;
}

uint64_t replay_plan_entries(const struct plan_size *size, uint64_t unique)
{
    uint64_t entries = size->entries;

    if (entries == 0)
        entries = (uint64_t)((double)unique * size->percent / 100 + 0.5);
    return entries != 0 ? entries : 1;
}
