#define TRAMONTANE_VARIANT avx2
#include "measure/kernel.h"
