#define TRAMONTANE_VARIANT avx2
#include "pack/kernel.h"
