#pragma once
// A pair (a, b) of a head's coordinates becomes (a cos - b sin, b cos + a sin), the angle the
// position times the pair's frequency. Pairs are (i, i + d/2), or neighbours (2i, 2i + 1).
#include <cstddef>

#include "variants.h"

#define TRAMONTANE_DECLARE(variant)                                                            \
  namespace variant {                                                                          \
  void rotate_head(float* x_d, const float* cos_c, const float* sin_c, size_t d, bool halves); \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
