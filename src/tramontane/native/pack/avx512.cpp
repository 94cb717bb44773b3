#define TRAMONTANE_VARIANT avx512
#include "pack/kernel.h"
