#pragma once
// A pair (a, b) of a head's coordinates becomes (a cos - b sin, b cos + a sin), the angle the
// position times the pair's frequency. Pairs are (i, i + d/2), or neighbours (2i, 2i + 1).
#include <cstddef>

#include "variants.h"

struct Angle {
  float cos, sin;
};

// Writes what rotate_heads needs of pair i.
static inline void place_angle(Angle angle, size_t i, size_t d, bool halves, float* cos_d,
                               float* sin_d) {
  const size_t first = halves ? i : 2 * i, second = halves ? i + d / 2 : 2 * i + 1;
  cos_d[first] = cos_d[second] = angle.cos;
  sin_d[first] = -angle.sin;
  sin_d[second] = angle.sin;
}

// Turns `num_heads` heads of d coordinates that lie one after the other. cos_d and sin_d hold each
// coordinate's cosine and sine, the sine of a pair's first coordinate negated.
#define TRAMONTANE_DECLARE(variant)                                                               \
  namespace variant {                                                                             \
  void rotate_heads(float* x, size_t num_heads, const float* cos_d, const float* sin_d, size_t d, \
                    bool halves);                                                                 \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
