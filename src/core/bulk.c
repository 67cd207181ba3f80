/* bulk.c - many keys at once. */
#include "src/core/flight.h"
