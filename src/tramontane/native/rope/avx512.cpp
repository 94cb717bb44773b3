#define TRAMONTANE_VARIANT avx512
#include "rope/kernel.h"
