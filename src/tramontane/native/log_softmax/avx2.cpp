#define TRAMONTANE_VARIANT avx2
#include "log_softmax/kernel.h"
