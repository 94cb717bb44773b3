// y[d] = x[d] · scale[d] / sqrt(mean_d(x[d]²) + eps); dot is Σ_d a[d] · b[d].
#include "lanes.h"
#include "rms_norm/rms_norm.h"

namespace TRAMONTANE_VARIANT {

// Four sums of sixteen lanes, added in one fixed tree.
float dot(const float* a_D, const float* b_D, size_t D) {
  Floats sums[4] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
  size_t d = 0;
  for (; d + 4 * kLanes <= D; d += 4 * kLanes)
    TRAMONTANE_UNROLL for (size_t i = 0; i < 4; ++i) sums[i] =
        fma(load(a_D + d + i * kLanes), load(b_D + d + i * kLanes), sums[i]);
  for (; d < D; d += kLanes)
    sums[0] = fma(load_some(a_D + d, D - d), load_some(b_D + d, D - d), sums[0]);
  return sum_of(add(add(sums[0], sums[2]), add(sums[1], sums[3])));
}

void rms_norm(const float* x_D, const float* scale_D, float* y_D, size_t D, float eps) {
  const float mean = dot(x_D, x_D, D) / static_cast<float>(D);
  const Floats inverse = all(1.0f / __builtin_sqrtf(mean + eps));
  for (size_t d = 0; d < D; d += kLanes) {
    const Floats x = mul(load_some(x_D + d, D - d), inverse);
    store_some(y_D + d, mul(x, load_some(scale_D + d, D - d)), D - d);
  }
}

}  // namespace TRAMONTANE_VARIANT
