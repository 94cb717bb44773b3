#define TRAMONTANE_VARIANT avx512
#include "swiglu/kernel.h"
