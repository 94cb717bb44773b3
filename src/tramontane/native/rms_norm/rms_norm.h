#pragma once
// y[d] = x[d] · scale[d] / sqrt(mean_d(x[d]²) + eps), one row of any width D.
#include <cstddef>

#include "variants.h"

#define TRAMONTANE_DECLARE(variant)                                                       \
  namespace variant {                                                                     \
  void rms_norm(const float* x_D, const float* scale_D, float* y_D, size_t D, float eps); \
  float dot(const float* a_D, const float* b_D, size_t D);                                \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
