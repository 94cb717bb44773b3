#include "attention/once.h"

#include <algorithm>
#include <vector>

void attend_once(const Kernels& kernels, const AttentionOnce& sizes, const float* q_THd,
                 const float* k_SGd, const float* v_SGd, const int32_t* pages, size_t num_pages,
                 float* y_THd) {
  constexpr uint16_t kNoNumber = 0x7E00;
  const size_t d = sizes.head_width, H = sizes.num_heads, G = sizes.num_kv_heads;
  const PageLayout layout{G, d};
  std::vector<uint16_t> layer(num_pages * layout.page_halves(), kNoNumber);
  for (size_t s = 0; s < sizes.num_positions; ++s)
    for (size_t g = 0; g < G; ++g) {
      uint16_t* page = &layer[pages[s / kPageTokens] * layout.page_halves()];
      const size_t at = (s * G + g) * d;
      kernels.keep_key(k_SGd + at, v_SGd + at, layout, page, g, s % kPageTokens);
    }
  std::vector<float> scratch(2 * kQueriesPerGroup * layout.padded_width());
  const size_t heads = H / G, first_position = sizes.num_positions - sizes.num_queries;
  for (size_t g = 0; g < G; ++g)
    for (size_t first = 0; first < sizes.num_queries * heads; first += sizes.at_once) {
      QueryGroup group;
      group.count = std::min(sizes.at_once, sizes.num_queries * heads - first);
      for (size_t r = 0; r < group.count; ++r) {
        const size_t token = (first + r) / heads, head = g * heads + (first + r) % heads;
        group.query_d[r] = q_THd + (token * H + head) * d;
        group.mixed_d[r] = y_THd + (token * H + head) * d;
        group.position[r] = static_cast<int64_t>(first_position + token);
      }
      group.window = sizes.window;
      group.scale = sizes.scale;
      group.layer = layer.data();
      group.pages = pages;
      group.kv_head = g;
      kernels.attend(group, layout, scratch.data());
    }
}
