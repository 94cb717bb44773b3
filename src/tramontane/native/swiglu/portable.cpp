#define TRAMONTANE_VARIANT portable
#include "swiglu/kernel.h"
