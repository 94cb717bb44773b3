#pragma once
// y = Σ_s p_s · v_s, p = softmax_s(scale · q · k_s) over the positions s that a token sees.
//
// Keys and values are read from their pages, after rounding to the pages' halves, the token's own
// included. Per page: scores, their largest, then both sums rescaled and added to, in the order of
// positions. What a row does not see changes none of its bits.
#include "attention/pages.h"
#include "variants.h"

constexpr size_t kQueriesPerGroup = 6;

// Up to six queries of one key head and one request.
struct QueryGroup {
  size_t count;
  const float* query_d[kQueriesPerGroup];
  float* mixed_d[kQueriesPerGroup];
  int64_t position[kQueriesPerGroup];
  // How far back a token sees, itself included.
  int64_t window;
  float scale;
  // Of one layer; `pages` says where a request's pages lie.
  const uint16_t* layer;
  const int32_t* pages;
  size_t kv_head;
};

// Scratch: padded head width × 2 × kQueriesPerGroup floats.
#define TRAMONTANE_DECLARE(variant)                                                           \
  namespace variant {                                                                         \
  void attend(const QueryGroup& group, const PageLayout& layout, float* scratch);             \
  void keep_key(const float* k_d, const float* v_d, const PageLayout& layout, uint16_t* page, \
                size_t kv_head, size_t slot);                                                 \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
