// p = softmax_e(r_e · h), the K largest; E base experts, D model width.
#include "route/route.h"

#include <algorithm>
#include <cmath>
#include <vector>

void choose_experts(const Kernels& kernels, const RouteSizes& sizes, const float* h_D,
                    const float* route_ED, const uint32_t* wanted_K, uint32_t* chosen_K,
                    float* weights_K) {
  const size_t D = sizes.model_width;
  std::vector<float> p(sizes.num_experts);
  for (size_t e = 0; e < p.size(); ++e) p[e] = kernels.dot(h_D, route_ED + e * D, D);
  const float most = *std::max_element(p.begin(), p.end());
  float total = 0.0f, sum = 0.0f;
  for (float& value : p) total += value = std::exp(value - most);
  std::vector<float> left = p;
  for (size_t k = 0; k < sizes.num_chosen; ++k) {
    const auto best = std::max_element(left.begin(), left.end());
    chosen_K[k] = static_cast<uint32_t>(best - left.begin());
    *best = -1.0f;  // below any other: it cannot be chosen again
  }
  const uint32_t* taken_K = wanted_K ? wanted_K : chosen_K;
  for (size_t k = 0; k < sizes.num_chosen; ++k) sum += weights_K[k] = p[taken_K[k]] / total;
  if (sizes.renormalises)
    for (size_t k = 0; k < sizes.num_chosen; ++k) weights_K[k] /= sum;
}
