#pragma once
// y[t, n] = Σ_k w[n, k] · x[t, k], sixteen rows of w (a tile) at a time.
//
// In blocks of 32 columns: y += scale_w · scale_x · Σ_k q_w · q_x (+ minimum · scale_x · Σ_k q_x),
// the inner sum exact in integers, blocks added in the order of k with one rounding each. A row's
// sum is one chain over k, so its bits depend neither on other rows nor on how many there are.
#include "matmul/matrix.h"
#include "panel.h"
#include "variants.h"

// Bytes of a thread's scratch for a tile's unpacked columns.
constexpr size_t kUnpackColumns = 768;
constexpr size_t kUnpackBytes = kUnpackColumns * 16 + kUnpackColumns / 32 * 128;

// Writes sums[t][16], for all rows t of the panel.
#define TRAMONTANE_DECLARE(variant)                                               \
  namespace variant {                                                             \
  void matmul_tile(const Matrix& w, size_t tile, const Panel& x, float* sums_T16, \
                   uint8_t* scratch);                                             \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE
