#pragma once
// A model's pages, and attention of a batch's tokens over them. Which thread does what is decided
// here; what is computed, and in what order, is the kernels'.
#include <memory>
#include <string>
#include <vector>

#include "batch.h"
#include "kernels.h"
#include "model.h"
#include "scratch.h"
#include "thread_pool.h"

// Throws std::invalid_argument for a name that no format has.
KVFormat kv_format_of(const std::string& name);

class PagedAttention {
 public:
  PagedAttention(const Sizes& sizes, KVFormat format, const Kernels& kernels);

  const char* format_name() const;
  size_t num_pages() const { return num_pages_; }
  // One page, in all layers.
  size_t page_bytes() const { return sizes_.num_layers * layout_.page_bytes(); }

  uint8_t* pages_of_layer(size_t layer) const {
    return pages_.get() + layer * num_pages_ * layout_.page_bytes();
  }

  // Throws std::bad_alloc, leaving no page, when there is no room for so many.
  void allocate(size_t num_pages);

  // Rows of a batch: query_width queries, then kv_width keys and as many values, `stride` floats
  // from a token to the next.
  struct Rows {
    const float* qkv;
    size_t stride;
  };

  // Rounds the keys and values of tokens `first` to before `end` into their pages.
  void keep(const Batch& batch, size_t layer, const Rows& rows, size_t first, size_t end);

  // mixed[t] = every head's y of token t, query_width floats; all keys must have been kept.
  void attend(const Batch& batch, size_t layer, const Rows& rows, ThreadPool& pool, float* mixed);

 private:
  // Up to six (token, head) pairs of a span and a key head, `first` counting in pairs, over a
  // stretch of segments; its parts begin at `first_part`.
  struct Item {
    uint32_t span, kv_head, first, first_segment, end_segment;
    size_t first_part;
  };
  QueryGroup group_of(const Batch::Span& span, const Item& item, size_t layer,
                      const Rows& rows) const;

  const Sizes sizes_;
  const PageLayout layout_;
  const Kernels& kernels_;
  size_t num_pages_ = 0;
  std::unique_ptr<uint8_t, void (*)(void*)> pages_{nullptr, free};
  Buffer scratch_, parts_;
};
