#pragma once
// Activations on their way into a matrix: rows in blocks of up to eight, laid out in the order the
// kernels read them.
//
// A block of n rows that begins at row r holds, for each 32 columns, n × 32 int8, and one scale,
// one sum and one scaled sum per row; as floats it holds n numbers per column. Blocks follow each
// other without gaps, so a block's place is r · width whatever n is.
#include <cstddef>
#include <cstdint>

constexpr size_t kRowsPerBlock = 8;
constexpr size_t kColumnsPerScale = 32;

struct Panel {
  size_t num_rows = 0;
  size_t width = 0;
  // x ≈ quants · scale; null when no matrix in blocks of 4 or 8 bits reads this panel.
  int8_t* quants = nullptr;
  float* scales = nullptr;
  // Σ quants, with the factors that weights' zero points ask for.
  int32_t* minus_8_sums = nullptr;
  int32_t* minus_128_sums = nullptr;
  // scale · Σ quants, for types with a minimum.
  float* scaled_sums = nullptr;
  // The numbers themselves; null when no matrix of floats reads this panel.
  float* floats = nullptr;

  // The panel of the rows from `row` (a multiple of eight) on.
  Panel from(size_t row, size_t rows) const {
    Panel part = *this;
    const size_t scale_at = row * (width / kColumnsPerScale);
    part.num_rows = rows;
    if (quants) {
      part.quants += row * width;
      part.scales += scale_at;
      part.minus_8_sums += scale_at;
      part.minus_128_sums += scale_at;
      part.scaled_sums += scale_at;
    }
    if (floats) part.floats += row * width;
    return part;
  }
};
