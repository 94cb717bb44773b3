// y[t, n] = Σ_k w[n, k] · x[t, k]; see matmul.h for the order of the sums.
#include "lanes.h"
#include "matmul/matmul.h"

namespace TRAMONTANE_VARIANT {
namespace {

constexpr size_t kRowsWithoutUnpacking = 32;

// What the integer sum starts from.
enum class Start { kNothing, kMinus8, kMinus128 };

// A tile's 32 columns as they lie in the file's precision.
template <Format format>
struct Packed {
  static constexpr bool kNibbles =
      format == Format::kNibblesFrom8 || format == Format::kNibblesAboveMin;
  static constexpr bool kMinimum =
      format == Format::kNibblesAboveMin || format == Format::kBytesAboveMin;
  static constexpr bool kSigned = format == Format::kBytes;
  static constexpr Start kStart = format == Format::kNibblesFrom8 ? Start::kMinus8
                                  : kSigned && kLiftsSigned       ? Start::kMinus128
                                                                  : Start::kNothing;
  static constexpr size_t kBlockBytes = kNibbles ? 256 : 512;
  static constexpr size_t kPairBytes = 2 * kBlockBytes + (kMinimum ? 128 : 64);
  // How far ahead of the reading the memory is asked for its bytes; tiles follow each other. Into
  // the second cache: asked for into the first, they hold the buffers that loads wait for.
  static constexpr size_t kAhead = 6144;
  static constexpr int kSecondCache = 2;
  // Whole lines; what is over is asked for with the second block.
  static constexpr size_t kHalfPair = kPairBytes / 128 * 64;
  const uint8_t* tile;

  TRAMONTANE_INLINE void unpack(const uint8_t* from, Bytes* w) {
    if constexpr (kNibbles) {
      TRAMONTANE_UNROLL for (int i = 0; i < 4; ++i) {
        const Bytes both = load_bytes(from + 64 * i);
        w[i] = lower_bits(both);
        w[i + 4] = upper_bits(both);
      }
    } else {
      TRAMONTANE_UNROLL for (int i = 0; i < 8; ++i) {
        w[i] = load_bytes(from + 64 * i);
        if constexpr (kSigned) w[i] = lift_signed(w[i]);
      }
    }
  }
  __attribute__((always_inline)) void weights(size_t block, Bytes* w) const {
    const uint8_t* from = tile + block / 2 * kPairBytes + block % 2 * kBlockBytes;
    const uint8_t* ahead = tile + block / 2 * kPairBytes + block % 2 * kHalfPair + kAhead;
    TRAMONTANE_UNROLL for (size_t line = 0; line < kPairBytes - kHalfPair; line += 64)
        __builtin_prefetch(ahead + line, 0, kSecondCache);
    unpack(from, w);
  }
  __attribute__((always_inline)) const uint16_t* halves(size_t block) const {
    const uint8_t* from = tile + block / 2 * kPairBytes + 2 * kBlockBytes + block % 2 * 32;
    return reinterpret_cast<const uint16_t*>(from);
  }
  __attribute__((always_inline)) Floats scales(size_t block) const {
    return from_half(halves(block));
  }
  __attribute__((always_inline)) Floats minimums(size_t block) const {
    return from_half(halves(block) + 32);
  }
};

// The same columns unpacked once, for many rows of x.
template <Format format>
struct Unpacked {
  static constexpr bool kMinimum = Packed<format>::kMinimum;
  static constexpr bool kSigned = Packed<format>::kSigned;
  static constexpr Start kStart = Packed<format>::kStart;
  const uint8_t* quants;
  const float* scale_floats;
  const float* minimum_floats;

  __attribute__((always_inline)) void weights(size_t block, Bytes* w) const {
    TRAMONTANE_UNROLL for (int i = 0; i < 8; ++i) w[i] = load_bytes(quants + block * 512 + 64 * i);
  }
  __attribute__((always_inline)) Floats scales(size_t block) const {
    return load(scale_floats + block * 16);
  }
  __attribute__((always_inline)) Floats minimums(size_t block) const {
    return load(minimum_floats + block * 16);
  }
};

// Adds the blocks [0, num_blocks) of w times those of x from `first` on to sums[n][16].
template <class Tile, int n>
void add_blocks(const Tile& tile, size_t num_blocks, const Panel& x, size_t first, float* sums,
                bool continues) {
  Floats y[n];
  TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) {
    y[t] = continues ? load(sums + t * kLanes) : all(0.0f);
  }
  const int8_t* quants = x.quants + first * n * 32;
  const size_t at = first * n;
  for (size_t block = 0; block < num_blocks; ++block) {
    Bytes w[8];
    tile.weights(block, w);
    const Floats scales = tile.scales(block);
    Floats minimums;
    if constexpr (Tile::kMinimum) minimums = tile.minimums(block);
    TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) {
      const size_t s = at + block * n + t;
      Ints sum;
      if constexpr (Tile::kStart == Start::kMinus8)
        sum = all_ints(x.minus_8_sums[s]);
      else if constexpr (Tile::kStart == Start::kMinus128)
        sum = all_ints(x.minus_128_sums[s]);
      else
        sum = all_ints(0);
      const int8_t* row = quants + (block * n + t) * 32;
      TRAMONTANE_UNROLL for (int i = 0; i < 8; ++i) {
        sum = add_products(sum, w[i], row + 4 * i, Tile::kSigned);
      }
      y[t] = fma(to_floats(sum), mul(scales, all(x.scales[s])), y[t]);
      if constexpr (Tile::kMinimum) y[t] = fma(minimums, all(x.scaled_sums[s]), y[t]);
    }
  }
  TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) store(sums + t * kLanes, y[t]);
}

template <class Tile>
void add_blocks_of(size_t n, const Tile& tile, size_t num_blocks, const Panel& x, size_t first,
                   float* sums, bool continues) {
  switch (n) {
    case 1:
      return add_blocks<Tile, 1>(tile, num_blocks, x, first, sums, continues);
    case 2:
      return add_blocks<Tile, 2>(tile, num_blocks, x, first, sums, continues);
    case 3:
      return add_blocks<Tile, 3>(tile, num_blocks, x, first, sums, continues);
    case 4:
      return add_blocks<Tile, 4>(tile, num_blocks, x, first, sums, continues);
    case 5:
      return add_blocks<Tile, 5>(tile, num_blocks, x, first, sums, continues);
    case 6:
      return add_blocks<Tile, 6>(tile, num_blocks, x, first, sums, continues);
    case 7:
      return add_blocks<Tile, 7>(tile, num_blocks, x, first, sums, continues);
    default:
      return add_blocks<Tile, 8>(tile, num_blocks, x, first, sums, continues);
  }
}

template <Format format>
void matmul_blocks(const Matrix& w, size_t tile, const Panel& x, float* sums, uint8_t* scratch) {
  const Packed<format> packed{w.tile(tile)};
  const size_t num_blocks = w.num_blocks();
  // A tile stays in the first caches while so few rows pass over it, and taking numbers apart again
  // costs less than keeping them apart.
  if (x.num_rows <= kRowsWithoutUnpacking) {
    for (size_t row = 0; row < x.num_rows; row += kRowsPerBlock) {
      const size_t n = x.num_rows - row < kRowsPerBlock ? x.num_rows - row : kRowsPerBlock;
      add_blocks_of(n, packed, num_blocks, x.from(row, n), 0, sums + row * kLanes, false);
    }
    return;
  }

  // Enough columns at a time that they and a block of x stay in the first cache.
  const size_t num_stretches = (num_blocks * 32 + kUnpackColumns - 1) / kUnpackColumns;
  const size_t stretch = (num_blocks + num_stretches - 1) / num_stretches;
  float* scales = reinterpret_cast<float*>(scratch + kUnpackColumns * 16);
  float* minimums = scales + kUnpackColumns / 32 * 16;
  for (size_t first = 0; first < num_blocks; first += stretch) {
    const size_t count = num_blocks - first < stretch ? num_blocks - first : stretch;
    for (size_t block = 0; block < count; ++block) {
      Bytes bytes[8];
      packed.weights(first + block, bytes);
      TRAMONTANE_UNROLL for (int i = 0; i < 8; ++i)
          store_bytes(scratch + block * 512 + 64 * i, bytes[i]);
      store(scales + block * 16, packed.scales(first + block));
      if constexpr (Packed<format>::kMinimum)
        store(minimums + block * 16, packed.minimums(first + block));
    }
    const Unpacked<format> unpacked{scratch, scales, minimums};
    for (size_t row = 0; row < x.num_rows; row += kRowsPerBlock) {
      const size_t n = x.num_rows - row < kRowsPerBlock ? x.num_rows - row : kRowsPerBlock;
      add_blocks_of(n, unpacked, count, x.from(row, n), first, sums + row * kLanes, first > 0);
    }
  }
}

template <Format format>
TRAMONTANE_INLINE Floats weights_at(const uint8_t* tile, size_t k) {
  if constexpr (format == Format::kFloat)
    return load(reinterpret_cast<const float*>(tile) + k * 16);
  else if constexpr (format == Format::kHalf)
    return from_half(reinterpret_cast<const uint16_t*>(tile) + k * 16);
  else
    return from_bfloat(reinterpret_cast<const uint16_t*>(tile) + k * 16);
}

template <Format format, int n>
void sum_columns(const uint8_t* tile, size_t num_columns, const float* x, float* sums) {
  Floats y[n];
  TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) y[t] = all(0.0f);
  for (size_t k = 0; k < num_columns; ++k) {
    const Floats w = weights_at<format>(tile, k);
    TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) y[t] = fma(w, all(x[k * n + t]), y[t]);
  }
  TRAMONTANE_UNROLL_ROWS for (int t = 0; t < n; ++t) store(sums + t * kLanes, y[t]);
}

template <Format format>
void matmul_floats(const Matrix& w, size_t tile, const Panel& x, float* sums) {
  const size_t K = w.num_columns;
  const uint8_t* from = w.tile(tile);
  for (size_t row = 0; row < x.num_rows; row += kRowsPerBlock) {
    const float* block = x.floats + row * K;
    float* y = sums + row * kLanes;
    switch (x.num_rows - row) {
      case 1:
        sum_columns<format, 1>(from, K, block, y);
        break;
      case 2:
        sum_columns<format, 2>(from, K, block, y);
        break;
      case 3:
        sum_columns<format, 3>(from, K, block, y);
        break;
      case 4:
        sum_columns<format, 4>(from, K, block, y);
        break;
      case 5:
        sum_columns<format, 5>(from, K, block, y);
        break;
      case 6:
        sum_columns<format, 6>(from, K, block, y);
        break;
      case 7:
        sum_columns<format, 7>(from, K, block, y);
        break;
      default:
        sum_columns<format, 8>(from, K, block, y);
        break;
    }
  }
}

}  // namespace

void matmul_tile(const Matrix& w, size_t tile, const Panel& x, float* sums_T16, uint8_t* scratch) {
  switch (w.format) {
    case Format::kNibblesFrom8:
      return matmul_blocks<Format::kNibblesFrom8>(w, tile, x, sums_T16, scratch);
    case Format::kNibblesAboveMin:
      return matmul_blocks<Format::kNibblesAboveMin>(w, tile, x, sums_T16, scratch);
    case Format::kBytes:
      return matmul_blocks<Format::kBytes>(w, tile, x, sums_T16, scratch);
    case Format::kBytesAboveMin:
      return matmul_blocks<Format::kBytesAboveMin>(w, tile, x, sums_T16, scratch);
    case Format::kFloat:
      return matmul_floats<Format::kFloat>(w, tile, x, sums_T16);
    case Format::kHalf:
      return matmul_floats<Format::kHalf>(w, tile, x, sums_T16);
    case Format::kBFloat:
      return matmul_floats<Format::kBFloat>(w, tile, x, sums_T16);
  }
}

}  // namespace TRAMONTANE_VARIANT
