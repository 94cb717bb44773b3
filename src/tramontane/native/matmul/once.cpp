#include "matmul/once.h"

#include <algorithm>
#include <cstring>
#include <vector>

void multiply_once(const Kernels& kernels, const Matrix& w, const float* x, size_t T, float* y) {
  const size_t K = w.num_columns, N = w.num_rows;
  std::vector<int8_t> quants(T * K);
  std::vector<float> scales(T * K / 32), scaled(T * K / 32), floats(T * K);
  std::vector<int32_t> minus_8(T * K / 32), minus_128(T * K / 32);
  Panel panel{.num_rows = T, .width = K};
  if (is_in_blocks(w.format)) {
    panel.quants = quants.data();
    panel.scales = scales.data();
    panel.scaled_sums = scaled.data();
    panel.minus_8_sums = minus_8.data();
    panel.minus_128_sums = minus_128.data();
  } else {
    panel.floats = floats.data();
  }
  for (size_t first = 0; first < T; first += kRowsPerBlock) {
    const size_t n = std::min(kRowsPerBlock, T - first);
    const float* rows[kRowsPerBlock];
    for (size_t t = 0; t < n; ++t) rows[t] = x + (first + t) * K;
    kernels.pack_rows(rows, 0, K, panel.from(first, n));
  }
  std::vector<float> sums(std::max<size_t>(T, 1) * kRowsPerTile);
  std::vector<uint8_t> scratch(kUnpackBytes);
  for (size_t tile = 0; tile < w.num_tiles(); ++tile) {
    kernels.matmul_tile(w, tile, panel, sums.data(), scratch.data());
    const size_t column = tile * kRowsPerTile, width = std::min(kRowsPerTile, N - column);
    for (size_t t = 0; t < T; ++t)
      memcpy(y + t * N + column, &sums[t * kRowsPerTile], width * sizeof(float));
  }
}
