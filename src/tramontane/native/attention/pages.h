#pragma once
// Keys and values of one layer in pages of 64 positions, a key head after the other.
//
// Within a page, a head's keys lie with the position innermost (coordinate, position), so that 64
// scores grow side by side; its values lie with the coordinate innermost, rows padded to whole
// sixteens. As bytes, they are followed by a scale (a half) for each position's key, then by one
// for each position's value: a number is its byte times the scale. Softmax goes page by page,
// hence its blocks begin at absolute positions.
#include <cstddef>
#include <cstdint>

constexpr size_t kPageTokens = 64;

enum class KVFormat { float16, int8 };

struct PageLayout {
  KVFormat format;
  size_t num_kv_heads;
  size_t head_width;

  size_t padded_width() const { return (head_width + 15) / 16 * 16; }
  size_t number_bytes() const { return format == KVFormat::int8 ? 1 : 2; }
  size_t key_bytes() const { return head_width * kPageTokens * number_bytes(); }
  size_t value_bytes() const { return padded_width() * kPageTokens * number_bytes(); }
  size_t scale_bytes() const { return format == KVFormat::int8 ? kPageTokens * 2 : 0; }
  size_t head_bytes() const { return key_bytes() + value_bytes() + 2 * scale_bytes(); }
  size_t page_bytes() const { return num_kv_heads * head_bytes(); }
};
