#define TRAMONTANE_VARIANT avx2
#include "attention/kernel.h"
