#include "attention/paged_attention.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>

// With fewer items per thread than this, several threads share a query's segments.
static constexpr size_t kItemsPerThread = 4;

KVFormat kv_format_of(const std::string& name) {
  if (name == "float16") return KVFormat::float16;
  if (name == "int8") return KVFormat::int8;
  throw std::invalid_argument("no KV format is called " + name + "; there are float16, int8");
}

PagedAttention::PagedAttention(const Sizes& sizes, KVFormat format, const Kernels& kernels)
    : sizes_(sizes), layout_{format, sizes.num_kv_heads, sizes.head_width}, kernels_(kernels) {}

const char* PagedAttention::format_name() const {
  return layout_.format == KVFormat::int8 ? "int8" : "float16";
}

void PagedAttention::allocate(size_t num_pages) {
  pages_.reset();
  num_pages_ = num_pages;
  // calloc takes untouched pages from the system: memory is used as positions are.
  pages_.reset(static_cast<uint8_t*>(calloc(std::max<size_t>(num_pages, 1), page_bytes())));
  if (!pages_) {
    num_pages_ = 0;
    throw std::bad_alloc();
  }
}

void PagedAttention::keep(const Batch& batch, size_t layer, const Rows& rows, size_t first,
                          size_t end) {
  const size_t d = sizes_.head_width, Q = sizes_.query_width(), G = sizes_.kv_width();
  for (const Batch::Span& span : batch.spans) {
    size_t token = std::max(first, span.begin);
    const size_t last = std::min(end, span.begin + span.count);
    while (token < last) {
      const size_t position = static_cast<size_t>(span.start) + token - span.begin;
      const size_t slot = position % kPageTokens;
      const size_t count = std::min(last - token, kPageTokens - slot);
      const float* row = rows.qkv + token * rows.stride + Q;
      uint8_t* page =
          pages_of_layer(layer) + span.pages[position / kPageTokens] * layout_.page_bytes();
      for (size_t g = 0; g < sizes_.num_kv_heads; ++g)
        kernels_.keep({row + g * d, row + G + g * d, rows.stride, count, page, g, slot}, layout_);
      token += count;
    }
  }
}

QueryGroup PagedAttention::group_of(const Batch::Span& span, const Item& item, size_t layer,
                                    const Rows& rows) const {
  const size_t heads = sizes_.num_heads / sizes_.num_kv_heads;
  QueryGroup group;
  group.count = std::min(kQueriesPerGroup, span.count * heads - item.first);
  for (size_t r = 0; r < group.count; ++r) {
    const size_t token = (item.first + r) / heads;
    const size_t head = item.kv_head * heads + (item.first + r) % heads;
    group.query_d[r] = rows.qkv + (span.begin + token) * rows.stride + head * sizes_.head_width;
    group.position[r] = span.start + static_cast<int64_t>(token);
  }
  group.window = sizes_.window;
  group.scale = sizes_.attention_scale;
  group.layer = pages_of_layer(layer);
  group.pages = span.pages;
  group.kv_head = item.kv_head;
  return group;
}

void PagedAttention::attend(const Batch& batch, size_t layer, const Rows& rows, ThreadPool& pool,
                            float* mixed) {
  const size_t heads = sizes_.num_heads / sizes_.num_kv_heads;
  const size_t part = part_floats(layout_);
  std::vector<Item> items;
  size_t num_parts = 0;
  for (uint32_t s = 0; s < batch.spans.size(); ++s)
    for (uint32_t g = 0; g < sizes_.num_kv_heads; ++g)
      for (uint32_t first = 0; first < batch.spans[s].count * heads; first += kQueriesPerGroup) {
        Item item{s, g, first, 0, 0, num_parts};
        const QueryGroup group = group_of(batch.spans[s], item, layer, rows);
        item.first_segment = static_cast<uint32_t>(group.first_seen() / kSegmentTokens);
        item.end_segment = static_cast<uint32_t>(group.last_seen() / kSegmentTokens + 1);
        num_parts += (item.end_segment - item.first_segment) * kQueriesPerGroup;
        items.push_back(item);
      }
  const size_t scratch_floats = attention_scratch_floats(layout_) + kQueriesPerGroup * part;
  float* scratch = scratch_.of<float>(pool.size() * scratch_floats);

  // Joins a group's parts, a query's parts lying `apart` floats from each other.
  auto finish = [&](const Item& item, float* parts, size_t num_segments) {
    const Batch::Span& span = batch.spans[item.span];
    const size_t count = std::min(kQueriesPerGroup, span.count * heads - item.first);
    for (size_t r = 0; r < count; ++r) {
      const size_t token = span.begin + (item.first + r) / heads;
      const size_t head = item.kv_head * heads + (item.first + r) % heads;
      kernels_.join(parts + r * part, num_segments, kQueriesPerGroup * part, sizes_.head_width,
                    mixed + token * sizes_.query_width() + head * sizes_.head_width);
    }
  };
  const size_t num_wanted = kItemsPerThread * static_cast<size_t>(pool.size());
  if (pool.size() == 1 || items.size() >= num_wanted) {
    pool.run(items.size(), [&](size_t i, int thread) {
      const Item& item = items[i];
      float* parts = scratch + thread * scratch_floats;
      kernels_.attend(group_of(batch.spans[item.span], item, layer, rows), layout_,
                      item.first_segment, item.end_segment, parts + kQueriesPerGroup * part, parts);
      finish(item, parts, 1);
    });
    return;
  }
  float* parts = parts_.of<float>(num_parts * part);
  std::vector<Item> pieces;
  for (const Item& item : items)
    for (uint32_t segment = item.first_segment; segment < item.end_segment; ++segment) {
      pieces.push_back({item.span, item.kv_head, item.first, segment, segment + 1,
                        item.first_part + (segment - item.first_segment) * kQueriesPerGroup});
    }
  pool.run(pieces.size(), [&](size_t i, int thread) {
    const Item& piece = pieces[i];
    kernels_.attend(group_of(batch.spans[piece.span], piece, layer, rows), layout_,
                    piece.first_segment, piece.end_segment, scratch + thread * scratch_floats,
                    parts + piece.first_part * part);
  });
  for (const Item& item : items)
    finish(item, parts + item.first_part * part, item.end_segment - item.first_segment);
}
