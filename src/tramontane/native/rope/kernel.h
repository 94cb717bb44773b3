// y[i] = x[i] cos[i] + x[j] sin[i], j the other of i's pair. No product is fused with the sum:
// both coordinates of a pair are rounded alike in every variant.
#include "lanes.h"
#include "rope/rope.h"

namespace TRAMONTANE_VARIANT {

void rotate_heads(float* x, size_t num_heads, const float* cos_d, const float* sin_d, size_t d,
                  bool halves) {
  const size_t c = d / 2;
  for (size_t head = 0; head < num_heads; ++head, x += d) {
    if (halves) {
      for (size_t i = 0; i < c; i += kLanes) {
        const size_t count = c - i;
        const Floats a = load_some(x + i, count), b = load_some(x + c + i, count);
        const Floats cos = load_some(cos_d + i, count), sin = load_some(sin_d + c + i, count);
        store_some(x + i, sub(mul(a, cos), mul(b, sin)), count);
        store_some(x + c + i, add(mul(b, cos), mul(a, sin)), count);
      }
    } else {
      for (size_t i = 0; i < d; i += kLanes) {
        const size_t count = d - i;
        const Floats a = load_some(x + i, count), b = neighbours_swapped(a);
        const Floats cos = load_some(cos_d + i, count), sin = load_some(sin_d + i, count);
        store_some(x + i, add(mul(a, cos), mul(b, sin)), count);
      }
    }
  }
}

}  // namespace TRAMONTANE_VARIANT
