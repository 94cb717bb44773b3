#define TRAMONTANE_VARIANT portable
#include "rms_norm/kernel.h"
