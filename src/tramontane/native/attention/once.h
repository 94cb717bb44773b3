#pragma once
// Attention of one request on its own, outside a forward pass.
#include "kernels.h"

// T queries of H heads at the last of S positions, whose keys and values have G heads.
struct AttentionOnce {
  size_t num_queries, num_heads, num_positions, num_kv_heads, head_width;
  int64_t window;
  float scale;
  // How many queries share the reading of keys, 1 to kQueriesPerGroup.
  size_t at_once;
};

// y_THd: all keys are kept in their pages first. Pages are numbered from 0 to num_pages - 1; those
// of positions 0 to S - 1 are in `pages`, and what nothing was kept in is no number.
void attend_once(const Kernels& kernels, const AttentionOnce& sizes, const float* q_THd,
                 const float* k_SGd, const float* v_SGd, const int32_t* pages, size_t num_pages,
                 float* y_THd);
