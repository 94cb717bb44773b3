#define TRAMONTANE_VARIANT portable
#include "attention/kernel.h"
