#include "attention/once.h"

#include <algorithm>
#include <cstring>

void attend_once(const Kernels& kernels, const AttentionOnce& once, const float* q_THd,
                 const float* k_SGd, const float* v_SGd, float* y_THd) {
  Sizes sizes{};
  sizes.num_layers = 1;
  sizes.num_heads = once.num_heads;
  sizes.num_kv_heads = once.num_kv_heads;
  sizes.head_width = once.head_width;
  sizes.window = once.window;
  sizes.attention_scale = once.scale;
  ThreadPool pool(once.threads);
  PagedAttention attention(sizes, once.format, kernels);
  const size_t num_pages = *std::max_element(once.pages.begin(), once.pages.end()) + 1;
  attention.allocate(num_pages);
  memset(attention.pages_of_layer(0), 0xFF, num_pages * attention.page_bytes());

  const size_t Q = sizes.query_width(), G = sizes.kv_width(), stride = Q + 2 * G;
  const size_t first_query = once.num_positions - once.num_queries;
  size_t start = 0;
  for (const size_t end : once.ends) {
    std::vector<float> rows((end - start) * stride);
    for (size_t s = start; s < end; ++s) {
      float* row = &rows[(s - start) * stride];
      if (s >= first_query) memcpy(row, q_THd + (s - first_query) * Q, Q * sizeof(float));
      memcpy(row + Q, k_SGd + s * G, G * sizeof(float));
      memcpy(row + Q + G, v_SGd + s * G, G * sizeof(float));
    }
    Batch batch;
    batch.spans.push_back(
        {0, end - start, static_cast<int64_t>(start), once.pages.data(), nullptr, 0});
    attention.keep(batch, 0, {rows.data(), stride}, 0, end - start);
    const size_t first = std::max(start, first_query);
    if (first < end) {
      batch.spans[0].count = end - first;
      batch.spans[0].start = static_cast<int64_t>(first);
      attention.attend(batch, 0, {&rows[(first - start) * stride], stride}, pool,
                       y_THd + (first - first_query) * Q);
    }
    start = end;
  }
}
