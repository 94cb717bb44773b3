#pragma once
// A weight matrix of N rows and K columns, repacked so that sixteen rows are read side by side.
//
// A tile is sixteen rows. In blocks (K a multiple of 32) it is a sequence of pairs of blocks, read
// from first to last byte: the quants of both, four columns of each row together (64 bytes); then
// both blocks' scales, a half per row; then their minimums where the type has them. With 4 bits the
// byte for columns 4i + j holds column 16 + 4i + j in its upper half. As floats a tile holds
// sixteen numbers per column. What lies beyond N or K is zero. The numbers are the file's, but for
// Q4_K, Q5_K and Q6_K (k_blocks.h says how far they are rounded). The layout is the same for every
// instruction set; when it changes, LAYOUT in engine/weights_file.py does too.
#include <cstddef>
#include <cstdint>
#include <memory>

enum class Format {
  kNibblesFrom8,     // w = scale · (q - 8): Q4_0
  kNibblesAboveMin,  // w = scale · q + minimum: Q4_1, Q4_K
  kBytes,            // w = scale · q, q signed: Q8_0, Q6_K, and Q5_0 as q - 16
  kBytesAboveMin,    // w = scale · q + minimum, q from 0 to 31: Q5_1, Q5_K
  kFloat,
  kHalf,
  kBFloat,
};

inline bool is_in_blocks(Format format) { return format <= Format::kBytesAboveMin; }
inline bool has_minimum(Format format) {
  return format == Format::kNibblesAboveMin || format == Format::kBytesAboveMin;
}
inline bool is_nibbles(Format format) { return format <= Format::kNibblesAboveMin; }

constexpr size_t kRowsPerTile = 16;

struct Matrix {
  Format format = Format::kFloat;
  size_t num_rows = 0;
  size_t num_columns = 0;
  // Its own, or a part of a mapped file.
  std::shared_ptr<const uint8_t> bytes;

  size_t num_tiles() const { return (num_rows + kRowsPerTile - 1) / kRowsPerTile; }
  size_t num_blocks() const { return num_columns / 32; }
  size_t block_bytes() const { return is_nibbles(format) ? 256 : 512; }
  // Whole cache lines, so that no load of 64 bytes touches two.
  size_t pair_bytes() const { return 2 * block_bytes() + (has_minimum(format) ? 128 : 64); }
  size_t tile_bytes() const {
    if (is_in_blocks(format)) return (num_blocks() + 1) / 2 * pair_bytes();
    return num_columns * kRowsPerTile * (format == Format::kFloat ? 4 : 2);
  }
  size_t num_bytes() const { return num_tiles() * tile_bytes(); }
  const uint8_t* tile(size_t t) const { return bytes.get() + t * tile_bytes(); }
};

// Where things lie in a tile of blocks.
struct TilePlaces {
  size_t block_bytes, pair_bytes;
  explicit TilePlaces(const Matrix& m) : block_bytes(m.block_bytes()), pair_bytes(m.pair_bytes()) {}
  size_t quants(size_t block) const { return block / 2 * pair_bytes + block % 2 * block_bytes; }
  size_t scales(size_t block) const {
    return block / 2 * pair_bytes + 2 * block_bytes + block % 2 * 32;
  }
  size_t minimums(size_t block) const { return scales(block) + 64; }
};
