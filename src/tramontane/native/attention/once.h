#pragma once
// Attention of one request on its own, outside a forward pass.
#include "attention/paged_attention.h"

// T queries of H heads at the last of S positions, whose keys and values have G heads.
struct AttentionOnce {
  size_t num_queries, num_heads, num_positions, num_kv_heads, head_width;
  int64_t window;
  float scale;
  KVFormat format;
  int threads;
  // Of positions 0 to S - 1. What nothing was kept in is no number.
  std::vector<int32_t> pages;
  // The positions before which chunks end, S last: a chunk's keys are kept, then its queries are
  // answered.
  std::vector<size_t> ends;
};

void attend_once(const Kernels& kernels, const AttentionOnce& once, const float* q_THd,
                 const float* k_SGd, const float* v_SGd, float* y_THd);
