#pragma once
// y = silu(g) · u = g · u / (1 + e^-g).
#include <cstddef>

#include "variants.h"

// gate_T16 and up_T16 are tiles of sixteen columns of T rows; y has rows of `stride` numbers.
#define TRAMONTANE_DECLARE(variant)                                                                \
  namespace variant {                                                                              \
  void swiglu_tile(const float* gate_T16, const float* up_T16, size_t T, float* y, size_t stride); \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
