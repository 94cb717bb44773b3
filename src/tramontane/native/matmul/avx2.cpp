#define TRAMONTANE_VARIANT avx2
#include "matmul/kernel.h"
