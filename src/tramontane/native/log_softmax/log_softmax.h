#pragma once
// y[v] = x[v] - log(Σ_w exp(x[w])), the row's largest taken out first.
//
// Exponentials err by two units in the last place, sixteen-lane sums over 256 numbers by nine
// roundings; sums of those are doubles. A row's bits depend on that row alone.
#include <cstddef>

#include "variants.h"

// log(Σ exp) as the sum of two floats, so that y is (x - high) - low.
struct LogSum {
  float high, low;
};

#define TRAMONTANE_DECLARE(variant)                     \
  namespace variant {                                   \
  LogSum log_sum(const float* x, size_t V);             \
  void log_softmax(const float* x, size_t V, float* y); \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
