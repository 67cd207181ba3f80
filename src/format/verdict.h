/* verdict.h - what a decoder of src/format says about bytes that come from outside: they are input, never a reason to abort. */
#ifndef STRATA_FORMAT_VERDICT_H
#define STRATA_FORMAT_VERDICT_H

enum format_verdict {
    FORMAT_OK = 0,
    FORMAT_END,     /* nothing was written here: zeros, or a file without a footer.  No damage */
    FORMAT_SHORT,   /* whole as far as it goes, and it says that it is longer than the bytes at hand */
    FORMAT_FOREIGN, /* not ours: another magic, another directory's */
    FORMAT_NEWER,   /* ours, of a version that this one cannot read */
    FORMAT_CORRUPT, /* damaged: a sum, a size or a number that cannot be */
};

#endif /* STRATA_FORMAT_VERDICT_H */
