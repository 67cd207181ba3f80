/* table.c - see table.h. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct row {
    int cells;
    char text[TABLE_COLUMNS][TABLE_CELL];
};

struct table {
    struct row *rows;
    size_t count;
    size_t room;
    struct row current;
};

struct table *table_new(void) { return calloc(1, sizeof(struct table)); }

void table_cell(struct table *table, const char *format, ...)
{
    va_list args;

    if (table == NULL || table->current.cells == TABLE_COLUMNS)
        return;
    va_start(args, format);
    vsnprintf(table->current.text[table->current.cells++], TABLE_CELL, format, args);
    va_end(args);
}

void table_row(struct table *table)
{
    if (table == NULL)
        return;
    if (table->count == table->room) {
        size_t room = table->room != 0 ? table->room * 2 : 16;
        struct row *rows = realloc(table->rows, room * sizeof *rows);

        if (rows == NULL)
            return;
        table->rows = rows;
        table->room = room;
    }
    table->rows[table->count++] = table->current;
    table->current.cells = 0;
}

static void print_rule(FILE *to, size_t width)
{
    fputs("  ", to);
    while (width-- > 0)
        fputc('-', to);
    fputc('\n', to);
}

static void print_row(const struct row *row, const size_t *widths, FILE *to)
{
    int c, cells = row->cells;

    while (cells > 1 && row->text[cells - 1][0] == '\0') /* no blanks at the end of a line */
        cells--;
    fprintf(to, "  %-*s", cells > 1 ? (int)widths[0] : 0, row->text[0]);
    for (c = 1; c < cells; c++)
        fprintf(to, "  %*s", (int)widths[c], row->text[c]);
    fputc('\n', to);
}

void table_print(struct table *table, FILE *to)
{
    size_t widths[TABLE_COLUMNS] = { 0 }, total = 0, r;
    int c;

    if (table == NULL)
        return;
    for (r = 0; r < table->count; r++)
        for (c = 0; c < table->rows[r].cells; c++) {
            size_t width = strlen(table->rows[r].text[c]);

            if (width > widths[c])
                widths[c] = width;
        }
    for (c = 0; c < TABLE_COLUMNS; c++)
        total += widths[c] != 0 ? widths[c] + (c > 0 ? 2 : 0) : 0;
    for (r = 0; r < table->count; r++) {
        if (table->rows[r].cells == 0) {
            print_rule(to, total);
            continue;
        }
        print_row(&table->rows[r], widths, to);
        if (r == 0)
            print_rule(to, total);
    }
    free(table->rows);
    free(table);
}
