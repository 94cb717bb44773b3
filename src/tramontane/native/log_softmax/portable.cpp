#define TRAMONTANE_VARIANT portable
#include "log_softmax/kernel.h"
