// y[v] = x[v] - log(Σ_w exp(x[w])).
#include <cmath>

#include "lanes.h"
#include "log_softmax/log_softmax.h"

namespace TRAMONTANE_VARIANT {
namespace {

constexpr size_t kLanesAtOnce = 4;
constexpr size_t kBlock = 16 * kLanes;

// Sixteen numbers, -inf after the row's end.
TRAMONTANE_INLINE Floats row_at(const float* x, size_t v, size_t V) {
  const Floats lanes = load_some(x + v, V - v);
  return V - v < kLanes ? within(lanes, 0, static_cast<int>(V - v), -__builtin_inff()) : lanes;
}

float largest_in(const float* x, size_t V) {
  Floats most[kLanesAtOnce];
  for (Floats& lanes : most) lanes = all(-__builtin_inff());
  size_t v = 0;
  for (; v + kLanesAtOnce * kLanes <= V; v += kLanesAtOnce * kLanes)
    TRAMONTANE_UNROLL for (size_t i = 0; i < kLanesAtOnce; ++i) most[i] =
        larger(most[i], load(x + v + i * kLanes));
  for (; v < V; v += kLanes) most[0] = larger(most[0], row_at(x, v, V));
  return largest_of(larger(larger(most[0], most[1]), larger(most[2], most[3])));
}

}  // namespace

LogSum log_sum(const float* x, size_t V) {
  const float most = largest_in(x, V);
  double total = 0.0;
  for (size_t begin = 0; begin < V; begin += kBlock) {
    const size_t end = V - begin < kBlock ? V : begin + kBlock;
    Floats sums[kLanesAtOnce];
    for (Floats& lanes : sums) lanes = all(0.0f);
    for (size_t v = begin; v < end; v += kLanesAtOnce * kLanes)
      TRAMONTANE_UNROLL for (size_t i = 0; i < kLanesAtOnce; ++i) {
        const size_t at = v + i * kLanes;
        if (at < end) sums[i] = add(sums[i], exponential(sub(row_at(x, at, V), all(most))));
      }
    total += sum_of(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  }
  const double log_of_sum = most + std::log(total);
  const auto high = static_cast<float>(log_of_sum);
  return {high, static_cast<float>(log_of_sum - high)};
}

void log_softmax(const float* x, size_t V, float* y) {
  const LogSum sum = log_sum(x, V);
  for (size_t v = 0; v < V; v += kLanes)
    store_some(y + v, sub(sub(load_some(x + v, V - v), all(sum.high)), all(sum.low)), V - v);
}

}  // namespace TRAMONTANE_VARIANT
