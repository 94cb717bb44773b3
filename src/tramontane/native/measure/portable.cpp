#define TRAMONTANE_VARIANT portable
#include "measure/kernel.h"
