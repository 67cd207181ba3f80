/* opt.h - the command line of one subcommand: one table that parses and that explains itself. */
#ifndef STRATA_CLI_OPT_H
#define STRATA_CLI_OPT_H
#include <stddef.h>
#include <stdint.h>

/* One option.  With `value` it takes an argument (--name X or --name=X), with `flag` none. */
struct opt {
    const char *name;     /* without the dashes */
    const char *argument; /* what the argument is called: "N"; NULL for a flag */
    const char *help;     /* one or more lines, separated by \n */
    const char **value;
    int *flag;
};

/* Parse what follows the subcommand's name.  Words that are no options go to `words`.  `--` ends the options; a single
 * dash is a word.  CLI_OK, or CLI_USAGE after a message. */
int opt_parse(const char *command, const struct opt *opts, size_t count, int argc, char **argv, const char **words,
              size_t max_words, size_t *out_words);
/* Explain each option on stdout. */
void opt_explain(const struct opt *opts, size_t count);
/* A whole number from `min` to `max`, or CLI_USAGE after a message.  NULL text leaves *out as it is. */
int opt_u64(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif /* STRATA_CLI_OPT_H */
