// y = g · u / (1 + e^-g).
#include "lanes.h"
#include "swiglu/swiglu.h"

namespace TRAMONTANE_VARIANT {

void swiglu_tile(const float* gate_T16, const float* up_T16, size_t T, float* y, size_t stride) {
  for (size_t t = 0; t < T; ++t) {
    const Floats g = load(gate_T16 + t * kLanes), u = load(up_T16 + t * kLanes);
    const Floats below = add(all(1.0f), exponential(sub(all(0.0f), g)));
    store(y + t * stride, mul(div(g, below), u));
  }
}

}  // namespace TRAMONTANE_VARIANT
