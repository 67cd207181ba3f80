/* table.h - columns that line up, of texts that are known only at the end. */
#ifndef STRATA_CLI_TABLE_H
#define STRATA_CLI_TABLE_H
#include <stdio.h>

enum { TABLE_COLUMNS = 12, TABLE_CELL = 64 };

struct table;

/* NULL: out of memory; every call below takes that, and prints nothing. */
struct table *table_new(void);
/* One more cell of the current row, as printf; at most TABLE_COLUMNS, cut at TABLE_CELL. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The row is complete; one without cells is a rule. */
void table_row(struct table *table);
/* The first column to the left, the others to the right; a rule under the first row.  Frees the table. */
void table_print(struct table *table, FILE *to);

#endif /* STRATA_CLI_TABLE_H */
