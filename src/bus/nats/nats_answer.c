/* nats_answer.c - see nats_answer.h.  The server writes these texts itself, without blanks; of what looks otherwise nothing is
 * believed, and the message is sent again. */
#include "src/bus/nats/nats_answer.h"

#include <stdio.h>

static const char *find(strata_slice in, const char *what)
{
    size_t size = strlen(what);
    const char *text = in.data;
    for (size_t i = 0; i + size <= in.size; i++)
        if (memcmp(text + i, what, size) == 0)
            return text + i;
    return NULL;
}

int strata__nats_answer(strata_slice bytes, char *out, size_t size)
{
    static const char key[] = "\"description\":\"";
    out[0] = '\0';
    if (bytes.size == 0 || ((const char *)bytes.data)[0] != '{')
        return 0;
    const char *seq = find(bytes, "\"seq\":"), *end = (const char *)bytes.data + bytes.size;
    if (find(bytes, "\"error\":") == NULL && seq != NULL && seq + 6 < end && seq[6] >= '1' && seq[6] <= '9')
        return 1;
    const char *said = find(bytes, key);
    if (said == NULL)
        return 0;
    said += sizeof key - 1;
    size_t n = 0;
    while (said + n < end && said[n] != '"' && n + 1 < size) {
        out[n] = said[n] >= ' ' && said[n] != 127 ? said[n] : '?';
        n++;
    }
    out[n] = '\0';
    return 0;
}
