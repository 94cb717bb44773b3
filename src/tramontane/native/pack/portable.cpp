#define TRAMONTANE_VARIANT portable
#include "pack/kernel.h"
