#define TRAMONTANE_VARIANT avx2
#include "rms_norm/kernel.h"
