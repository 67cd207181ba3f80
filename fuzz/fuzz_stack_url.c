/* fuzz_stack_url.c - a stack's URL: whatever it holds, it is taken apart or refused with words, within its bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/policy/options.h"
#include "src/policy/stack_url.h"
#include "strata/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void inside(const struct stack_url *url, const char *text)
{
    demand(text >= url->text && text < url->text + sizeof url->text);
    demand(memchr(text, '\0', (size_t)(url->text + sizeof url->text - text)) != NULL);
}

static void set_options(const struct url_layer *layer)
{
    strata_memory_options options;
    strata_error err = STRATA_ERROR_INIT;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    for (size_t i = 0; i < layer->param_count; i++) {
        const char *name = layer->params[i].name;
        int rc = strata__option_set(&strata__memory_rows, &options, layer->scheme, name, layer->params[i].value, &err);
        demand(rc == STRATA_OK || (rc == STRATA_EINVAL && err.message[0] != '\0'));
    }
    /* What text can set, the check of structs accepts. */
    strata_memory_options known;
    demand(strata__options_check(&strata__memory_rows, &options, options.size, &known, sizeof known, &err) == STRATA_OK);
}

static int is_kind(const char *name, size_t length)
{
    return (length == 6 && memcmp(name, "memory", 6) == 0) || (length == 4 && memcmp(name, "disk", 4) == 0);
}

/* What is wrong between layers: the words fit, and quote nothing that may be a password. */
static void explain(const char *text, int has_place)
{
    strata_error err = STRATA_ERROR_INIT;
    strata__stack_url_explain(text, is_kind, &err);
    demand(memchr(err.message, '\0', sizeof err.message) != NULL);
    demand((err.message[0] != '\0') == (has_place && strlen(text) <= STACK_URL_BYTES));
    demand(strchr(text, '@') == NULL || strchr(err.message, '@') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stack_url url;
    strata_error err = STRATA_ERROR_INIT;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size != 0)
        memcpy(text, data, size);
    text[size] = '\0';
    explain(text, strata__stack_url_no_bar(text, is_kind) != NULL);
    int rc = strata__stack_url_parse(text, &url, &err);
    free(text); /* the parts may not point into it */
    if (rc != STRATA_OK) {
        demand(rc == STRATA_EINVAL && err.status == rc && err.message[0] != '\0');
        return 0;
    }
    demand(url.layer_count >= 1 && url.layer_count <= STACK_URL_LAYERS);
    for (size_t i = 0; i < url.layer_count; i++) {
        const struct url_layer *layer = &url.layers[i];
        inside(&url, layer->scheme);
        inside(&url, layer->rest);
        demand(layer->scheme[0] != '\0' && layer->param_count <= STACK_URL_PARAMS);
        for (size_t k = 0; k < layer->param_count; k++) {
            inside(&url, layer->params[k].name);
            inside(&url, layer->params[k].value);
        }
        set_options(layer);
    }
    return 0;
}
