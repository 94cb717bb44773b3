#define TRAMONTANE_VARIANT avx512
#include "attention/kernel.h"
