#pragma once
// A weight matrix of N rows and K columns, repacked so that sixteen rows are read side by side.
//
// A tile is sixteen rows. In blocks (K a multiple of 32) it holds, for each 32 columns: the quants,
// four columns of each row together (64 bytes); with 4 bits the byte for columns 4i + j holds
// column 16 + 4i + j in its upper half. Then come all scales, a half per row and block, then all
// minimums where the type has them. As floats a tile holds sixteen numbers per column. Rows beyond
// N are zeros. Nothing is rounded: the numbers are the file's.
#include <cstddef>
#include <cstdint>
#include <memory>

enum class Format {
  kNibblesFrom8,     // w = scale · (q - 8): Q4_0
  kNibblesAboveMin,  // w = scale · q + minimum: Q4_1
  kBytes,            // w = scale · q, q signed: Q8_0, and Q5_0 as q - 16
  kBytesAboveMin,    // w = scale · q + minimum, q from 0 to 31: Q5_1
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

struct AlignedDelete {
  void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t(64)); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], AlignedDelete>;

struct Matrix {
  Format format = Format::kFloat;
  size_t num_rows = 0;
  size_t num_columns = 0;
  AlignedBytes bytes;

  size_t num_tiles() const { return (num_rows + kRowsPerTile - 1) / kRowsPerTile; }
  size_t num_blocks() const { return num_columns / 32; }
  size_t quant_bytes() const { return num_blocks() * (is_nibbles(format) ? 256 : 512); }
  size_t tile_bytes() const {
    if (!is_in_blocks(format))
      return num_columns * kRowsPerTile * (format == Format::kFloat ? 4 : 2);
    const size_t all = quant_bytes() + num_blocks() * 32 * (has_minimum(format) ? 2 : 1);
    return (all + 63) / 64 * 64;
  }
  const uint8_t* tile(size_t t) const { return bytes.get() + t * tile_bytes(); }
  const uint8_t* scales(size_t t) const { return tile(t) + quant_bytes(); }
  const uint8_t* minimums(size_t t) const { return scales(t) + num_blocks() * 32; }
};
