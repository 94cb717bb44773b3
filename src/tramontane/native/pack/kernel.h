// q[k] = round(x[k] · 127 / a), scale = a / 127, a = max |x[k]| over 32 columns.
#include "lanes.h"
#include "pack/pack.h"

namespace TRAMONTANE_VARIANT {
namespace {

// Writes 32 int8 and returns their sum.
TRAMONTANE_INLINE int32_t quantise_32(const float* x, int8_t* quants, float* scale) {
  const Floats lower = load(x), upper = load(x + kLanes);
  const float most = largest_of(larger(magnitude(lower), magnitude(upper)));
  *scale = most / 127.0f;
  // A row of zeros, or one too small to divide by, has no scale to give back.
  const Floats inverse = all(most > 1e-30f ? 127.0f / most : 0.0f);
  // What is no number has no int8 either: it becomes 127, in this order of operands, so that sums
  // stay in bounds; the scale, infinite or no number itself, tells on.
  const Floats least = all(-127.0f), greatest = all(127.0f);
  const Ints q_lower = to_ints(larger(smaller(mul(lower, inverse), greatest), least));
  const Ints q_upper = to_ints(larger(smaller(mul(upper, inverse), greatest), least));
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(quants), _mm512_cvtepi32_epi8(q_lower.part[0]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(quants + 16), _mm512_cvtepi32_epi8(q_upper.part[0]));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(q_lower.part[0], q_upper.part[0]));
#else
  int32_t lane[2 * kLanes], sum = 0;
  store_ints(lane, q_lower);
  store_ints(lane + kLanes, q_upper);
  for (size_t i = 0; i < 2 * kLanes; ++i) {
    quants[i] = static_cast<int8_t>(lane[i]);
    sum += lane[i];
  }
  return sum;
#endif
}

}  // namespace

void pack_rows(const float* const* rows, size_t first, size_t count, const Panel& block) {
  const size_t n = block.num_rows;
  for (size_t t = 0; t < n; ++t) {
    const float* row = rows[t];
    if (block.quants) {
      for (size_t k = 0; k < count; k += 32) {
        const size_t at = (first + k) / 32 * n + t;
        const int32_t sum = quantise_32(row + k, block.quants + at * 32, &block.scales[at]);
        block.minus_8_sums[at] = -8 * sum;
        block.minus_128_sums[at] = -128 * sum;
        block.scaled_sums[at] = block.scales[at] * static_cast<float>(sum);
      }
    }
    if (block.floats)
      for (size_t k = 0; k < count; ++k) block.floats[(first + k) * n + t] = row[k];
  }
}

}  // namespace TRAMONTANE_VARIANT
