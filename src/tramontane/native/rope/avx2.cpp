#define TRAMONTANE_VARIANT avx2
#include "rope/kernel.h"
