#pragma once
// Keys and values of one layer in pages of 64 positions, as halves, a key head after the other.
//
// Within a page, a head's keys lie with the position innermost (coordinate, position), so that 64
// scores grow side by side; its values lie with the coordinate innermost, rows padded to whole
// sixteens. Softmax goes page by page, hence its blocks begin at absolute positions.
#include <cstddef>
#include <cstdint>

constexpr size_t kPageTokens = 64;

struct PageLayout {
  size_t num_kv_heads;
  size_t head_width;

  size_t padded_width() const { return (head_width + 15) / 16 * 16; }
  size_t key_halves() const { return head_width * kPageTokens; }
  size_t head_halves() const { return key_halves() + padded_width() * kPageTokens; }
  size_t page_halves() const { return num_kv_heads * head_halves(); }
};
