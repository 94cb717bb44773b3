// (a, b) → (a cos - b sin, b cos + a sin).
#include "lanes.h"
#include "rope/rope.h"

namespace TRAMONTANE_VARIANT {

void rotate_head(float* x_d, const float* cos_c, const float* sin_c, size_t d, bool halves) {
  const size_t c = d / 2, step = halves ? 1 : 2, apart = halves ? c : 1;
  for (size_t i = 0; i < c; ++i) {
    float& first = x_d[i * step];
    float& second = x_d[i * step + apart];
    const float a = first, b = second;
    first = a * cos_c[i] - b * sin_c[i];
    second = b * cos_c[i] + a * sin_c[i];
  }
}

}  // namespace TRAMONTANE_VARIANT
