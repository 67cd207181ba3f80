/* demo_table.c - the summary: what happened with strata, and what would have happened without a cache. */
#include "demo/demo.h"

void demo_table_begin(struct demo *demo)
{
    demo->table = table_new();
    table_cell(demo->table, "what");
    table_cell(demo->table, "with strata");
    table_cell(demo->table, "without a cache");
    table_row(demo->table);
}

void demo_row(struct demo *demo, const char *what, const char *with, const char *without)
{
    if (what == NULL) { /* a rule between two acts */
        table_row(demo->table);
        return;
    }
    table_cell(demo->table, "%s", what);
    table_cell(demo->table, "%s", with);
    table_cell(demo->table, "%s", without);
    table_row(demo->table);
}

void demo_table_end(struct demo *demo)
{
    puts("");
    table_print(demo->table, stdout);
    demo->table = NULL;
    puts("\n  \"without a cache\" is computed: one query for each page view, with as many at a time and as long as "
         "above.");
}
