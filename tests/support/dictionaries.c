/* dictionaries.c - see dictionaries.h. */
#include "tests/support/dictionaries.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/hash.h"
#include "strata/dict.h"

enum { SAMPLES = 2000 };

size_t dictionary_value(char *out, int family, unsigned i)
{
    static const char *const towns[] = { "Lisbon", "Uppsala", "Reykjavik", "Tartu", "Ghent" };
    uint64_t mixed = strata__mix64(i);
    unsigned number = (unsigned)(mixed % 100000);
    const char *town = towns[mixed / 7 % 5];
    int size = family == 0
                   ? snprintf(out, DICTIONARY_VALUE,
                              "{\"id\":%u,\"name\":\"user-%u\",\"town\":\"%s\",\"plan\":\"basic\",\"active\":true}", i,
                              number, town)
                   : snprintf(out, DICTIONARY_VALUE,
                              "<order no='%u' sum='%u'><to>%s</to><state>shipped</state></order>", i, number, town);
    return (size_t)size;
}

size_t dictionary_train(int family, void *out)
{
    static char values[SAMPLES * DICTIONARY_VALUE];
    static strata_slice samples[SAMPLES];
    size_t used = 0, size = 0;
    strata_error err = STRATA_ERROR_INIT;
    for (unsigned i = 0; i < SAMPLES; i++) {
        samples[i] = strata_bytes(values + used, dictionary_value(values + used, family, i));
        used += samples[i].size;
    }
    if (strata_dict_train(samples, SAMPLES, out, DICTIONARY_BYTES, &size, NULL, &err) == STRATA_OK)
        return size;
    fprintf(stderr, "no dictionary: %s\n", err.message);
    abort();
}

uint64_t dictionary_file(int family, const char *path)
{
    unsigned char bytes[DICTIONARY_BYTES];
    size_t size = dictionary_train(family, bytes);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        abort();
    return strata_dict_id(bytes, size);
}
