#define TRAMONTANE_VARIANT avx512
#include "matmul/kernel.h"
