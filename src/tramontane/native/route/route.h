#pragma once
// Which base experts a token runs through: p = softmax_e(r_e · h) over all of them, the K largest
// chosen, ties to the lower number; their weights are p, or p over the sum of the chosen.
#include "kernels.h"

struct RouteSizes {
  size_t model_width, num_experts, num_chosen;
  bool renormalises;
};

// Writes the chosen experts, the likeliest first, and their weights; where `wanted_K` isn't null,
// the weights of those experts instead.
void choose_experts(const Kernels& kernels, const RouteSizes& sizes, const float* h_D,
                    const float* route_ED, const uint32_t* wanted_K, uint32_t* chosen_K,
                    float* weights_K);
