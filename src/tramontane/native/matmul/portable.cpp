#define TRAMONTANE_VARIANT portable
#include "matmul/kernel.h"
