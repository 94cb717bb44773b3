#pragma once
// y = Σ_s p_s · v_s, p = softmax_s(scale · q · k_s) over the positions s that a token sees.
//
// Keys and values are read from their pages, after rounding to the pages' format, the token's own
// included. Positions go in segments of four pages. Within a segment, per page: scores, their
// largest, then both sums rescaled and added to, in the order of positions. Segments are joined in
// their order, whether one thread goes through all of them or several share them. What a row does
// not see changes none of its bits.
#include "attention/pages.h"
#include "variants.h"

constexpr size_t kQueriesPerGroup = 6;
constexpr size_t kSegmentTokens = 4 * kPageTokens;

// Up to six queries of one key head and one request.
struct QueryGroup {
  size_t count;
  const float* query_d[kQueriesPerGroup];
  // Never falling from one query to the next.
  int64_t position[kQueriesPerGroup];
  // How far back a token sees, itself included.
  int64_t window;
  float scale;
  // Of one layer; `pages` says where a request's pages lie.
  const uint8_t* layer;
  const int32_t* pages;
  size_t kv_head;

  // The positions that some query of the group sees.
  int64_t first_seen() const { return position[0] < window ? 0 : position[0] - window + 1; }
  int64_t last_seen() const { return position[count - 1]; }
};

// What a query took from some segments: Σ_s 2^(score_s - most) v_s, then `most` and the sum of the
// powers; `most` is -inf where it saw nothing.
static inline size_t part_floats(const PageLayout& layout) { return layout.padded_width() + 16; }

static inline size_t attention_scratch_floats(const PageLayout& layout) {
  return kQueriesPerGroup * ((layout.head_width + 63) / 64 * 64 + part_floats(layout));
}

// A stretch of tokens whose keys and values go to one head's part of a page.
struct KeptRows {
  const float* keys;
  const float* values;
  // From one token's numbers to the next one's.
  size_t stride;
  size_t count;
  uint8_t* page;
  size_t kv_head;
  size_t first_slot;
};

// attend: writes a part for each query of the group, one after the other, over the segments from
// `first_segment` to before `end_segment`.
// join: y = the parts, in the order of their segments and `apart` floats from each other, as one;
// the first is overwritten.
#define TRAMONTANE_DECLARE(variant)                                                       \
  namespace variant {                                                                     \
  void attend(const QueryGroup& group, const PageLayout& layout, size_t first_segment,    \
              size_t end_segment, float* scratch, float* parts);                          \
  void join(float* parts, size_t num_parts, size_t apart, size_t head_width, float* y_d); \
  void keep(const KeptRows& rows, const PageLayout& layout);                              \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
