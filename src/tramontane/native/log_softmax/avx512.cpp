#define TRAMONTANE_VARIANT avx512
#include "log_softmax/kernel.h"
