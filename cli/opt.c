/* opt.c - see opt.h. */
#include "cli/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_error.h"

/* The option that `text` ("name" or "name=value") names; *out_value behind the '=', or NULL. */
static const struct opt *find(const struct opt *opts, size_t count, const char *text, const char **out_value)
{
    size_t length = strcspn(text, "=");
    size_t i;

    *out_value = text[length] == '=' ? text + length + 1 : NULL;
    for (i = 0; i < count; i++)
        if (strlen(opts[i].name) == length && memcmp(opts[i].name, text, length) == 0)
            return &opts[i];
    return NULL;
}

/* argv[*at] is an option. */
static int take(const char *command, const struct opt *opts, size_t count, int argc, char **argv, int *at)
{
    const char *text = argv[*at] + 2;
    const char *value;
    const struct opt *opt = argv[*at][1] == '-' ? find(opts, count, text, &value) : NULL;

    if (opt == NULL)
        return cli_usage("unknown option %s; `strata help %s` lists them", argv[*at], command);
    if (opt->flag != NULL) {
        if (value != NULL)
            return cli_usage("--%s takes no value", opt->name);
        *opt->flag = 1;
        return CLI_OK;
    }
    if (value == NULL) {
        if (*at + 1 >= argc)
            return cli_usage("--%s needs a value: --%s %s", opt->name, opt->name, opt->argument);
        value = argv[++*at];
    }
    if (value[0] == '\0')
        return cli_usage("--%s needs a value that is not empty: --%s %s", opt->name, opt->name, opt->argument);
    *opt->value = value;
    return CLI_OK;
}

int opt_parse(const char *command, const struct opt *opts, size_t count, int argc, char **argv, const char **words,
              size_t max_words, size_t *out_words)
{
    int only_words = 0;
    int i;

    *out_words = 0;
    for (i = 0; i < argc; i++) {
        int is_option = !only_words && argv[i][0] == '-' && argv[i][1] != '\0';

        if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = 1;
        } else if (is_option) {
            int code = take(command, opts, count, argc, argv, &i);

            if (code != CLI_OK)
                return code;
        } else if (*out_words == max_words) {
            return cli_usage("\"%s\" is one word too many; `strata help %s` shows the form", argv[i], command);
        } else {
            words[(*out_words)++] = argv[i];
        }
    }
    return CLI_OK;
}

void opt_explain(const struct opt *opts, size_t count)
{
    enum { LEFT = 24 };
    size_t i;

    for (i = 0; i < count; i++) {
        const char *help = opts[i].help;
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", opts[i].name, opts[i].argument != NULL ? " " : "",
                 opts[i].argument != NULL ? opts[i].argument : "");
        printf("  %-*s", LEFT, left);
        while (*help != '\0') {
            size_t length = strcspn(help, "\n");

            printf("%.*s\n", (int)length, help);
            help += length;
            if (*help == '\n') {
                help++;
                printf("  %-*s", LEFT, "");
            }
        }
    }
}

int opt_u64(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    const char *p;

    if (text == NULL)
        return CLI_OK;
    for (p = text; *p >= '0' && *p <= '9' && value <= max; p++)
        value = value > (UINT64_MAX - 9) / 10 ? UINT64_MAX : value * 10 + (uint64_t)(*p - '0');
    if (*p != '\0' && (*p < '0' || *p > '9'))
        return cli_usage("--%s %s: not a whole number; give digits alone", option, text);
    if (value < min || value > max)
        return cli_usage("--%s %s: must be from %" PRIu64 " to %" PRIu64, option, text, min, max);
    *out = value;
    return CLI_OK;
}
