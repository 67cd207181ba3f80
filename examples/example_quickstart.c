#include <stdio.h>
#include <strata/strata.h>

/* Gets a user from where users live.  Called once for a cold key, however many ask for it. */
static int load_user(strata_load *load, strata_slice key, void *database)
{
    (void)database, (void)key; /* ... a query ... */
    return strata_load_copy(load, "Ada", 3);
}

int main(void)
{
    strata *cache = NULL;
    strata_value *user = NULL;
    strata_error err;

    if (strata_open_url(&cache, "memory:?max_bytes=64mb", NULL, &err) < 0 ||
        strata_get_or_load(cache, strata_str("user:42"), load_user, NULL, NULL, &user, &err) < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    else
        printf("%.*s\n", (int)strata_value_size(user), (const char *)strata_value_data(user));

    strata_value_unref(user);
    return strata_close(cache);
}
