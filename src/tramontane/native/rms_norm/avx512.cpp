#define TRAMONTANE_VARIANT avx512
#include "rms_norm/kernel.h"
