#define TRAMONTANE_VARIANT avx2
#include "swiglu/kernel.h"
