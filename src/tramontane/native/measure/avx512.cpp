#define TRAMONTANE_VARIANT avx512
#include "measure/kernel.h"
