/* async.c - the asynchronous twins. */
#include "src/core/flight.h"
