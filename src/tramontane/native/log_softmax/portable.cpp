// y[t,v] = x[t,v] - log(sum_w exp(x[t,w])).
#include <algorithm>
#include <cmath>

#include "log_softmax/log_softmax.h"

void log_softmax(const float* x, float* y, size_t T, size_t V) {
  for (size_t t = 0; t < T; ++t, x += V, y += V) {
    const double largest = *std::max_element(x, x + V);
    double sum = 0.0;
    for (size_t v = 0; v < V; ++v) sum += std::exp(x[v] - largest);
    const double log_of_sum = largest + std::log(sum);
    for (size_t v = 0; v < V; ++v) y[v] = static_cast<float>(x[v] - log_of_sum);
  }
}
