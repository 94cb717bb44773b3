#define TRAMONTANE_VARIANT portable
#include "rope/kernel.h"
