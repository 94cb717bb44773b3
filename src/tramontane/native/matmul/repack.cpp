#include "matmul/repack.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>

#include "half.h"
#include "matmul/k_blocks.h"

namespace {

struct SourceType {
  const char* name;
  Format format;
  size_t numbers_per_block;
  size_t bytes_per_block;
};

const SourceType kTypes[] = {
    {"Q4_0", Format::kNibblesFrom8, 32, 18},
    {"Q4_1", Format::kNibblesAboveMin, 32, 20},
    {"Q5_0", Format::kBytes, 32, 22},
    {"Q5_1", Format::kBytesAboveMin, 32, 24},
    {"Q8_0", Format::kBytes, 32, 34},
    {"Q4_K", Format::kNibblesAboveMin, 256, 144},
    {"Q5_K", Format::kBytesAboveMin, 256, 176},
    {"Q6_K", Format::kBytes, 256, 210},
    {"F32", Format::kFloat, 1, 4},
    {"F16", Format::kHalf, 1, 2},
    {"BF16", Format::kBFloat, 1, 2},
};

struct AlignedDelete {
  void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t(64)); }
};

const SourceType& type_of(const std::string& name) {
  for (const SourceType& type : kTypes)
    if (name == type.name) return type;
  throw std::invalid_argument("type " + name + " is not known");
}

// A block's 32 five-bit numbers: four bits as in Q4, the fifth in a word of its own.
void unpack_five_bits(const uint8_t* block, const uint8_t* nibbles, int subtract, uint8_t* out) {
  uint32_t high;
  memcpy(&high, block, 4);
  for (int j = 0; j < 16; ++j) {
    const int low = (nibbles[j] & 15) | ((high >> j & 1) << 4);
    const int up = (nibbles[j] >> 4) | ((high >> (j + 16) & 1) << 4);
    out[j] = static_cast<uint8_t>(low - subtract);
    out[j + 16] = static_cast<uint8_t>(up - subtract);
  }
}

// One row of blocks of 32 into lane `row` of a tile.
void place_row(uint8_t* tile, const Matrix& layout, size_t bytes_per_block, size_t row,
               const uint8_t* from) {
  const TilePlaces at(layout);
  const bool minimum = has_minimum(layout.format);
  const size_t words = is_nibbles(layout.format) ? 4 : 8;
  for (size_t block = 0; block < layout.num_blocks(); ++block, from += bytes_per_block) {
    memcpy(tile + at.scales(block) + row * 2, from, 2);
    if (minimum) memcpy(tile + at.minimums(block) + row * 2, from + 2, 2);
    const uint8_t* body = from + (minimum ? 4 : 2);
    uint8_t five_bits[32];
    if (bytes_per_block == 22 || bytes_per_block == 24) {
      unpack_five_bits(body, body + 4, minimum ? 0 : 16, five_bits);
      body = five_bits;
    }
    uint8_t* to = tile + at.quants(block) + row * 4;
    for (size_t word = 0; word < words; ++word) memcpy(to + word * 64, body + word * 4, 4);
  }
}

// One row of blocks of 256, each as eight of 32. False when a scale is beyond float16.
bool place_k_row(uint8_t* tile, const Matrix& layout, size_t bytes_per_block, size_t row,
                 const uint8_t* from) {
  const TilePlaces at(layout);
  bool fits = true;
  for (size_t first = 0; first < layout.num_blocks(); first += 8, from += bytes_per_block) {
    Block32 eight[8];
    switch (layout.format) {
      case Format::kNibblesAboveMin:
        fits &= read_q4_k(from, eight);
        break;
      case Format::kBytesAboveMin:
        fits &= read_q5_k(from, eight);
        break;
      default:
        fits &= read_q6_k(from, eight);
    }
    for (size_t i = 0; i < 8; ++i) {
      const Block32& block = eight[i];
      memcpy(tile + at.scales(first + i) + row * 2, &block.scale, 2);
      if (has_minimum(layout.format))
        memcpy(tile + at.minimums(first + i) + row * 2, &block.minimum, 2);
      uint8_t* to = tile + at.quants(first + i) + row * 4;
      if (is_nibbles(layout.format)) {
        for (size_t j = 0; j < 16; ++j)
          to[j / 4 * 64 + j % 4] =
              block.quants[j] | static_cast<uint8_t>(block.quants[j + 16] << 4);
      } else {
        for (size_t word = 0; word < 8; ++word) memcpy(to + word * 64, block.quants + word * 4, 4);
      }
    }
  }
  return fits;
}

template <class Number>
void place_tile(uint8_t* tile, size_t rows, size_t columns, const Number* from) {
  Number* to = reinterpret_cast<Number*>(tile);
  for (size_t k = 0; k < columns; ++k)
    for (size_t row = 0; row < kRowsPerTile; ++row) {
      Number number = 0;
      if (row < rows) memcpy(&number, from + row * columns + k, sizeof number);
      to[k * kRowsPerTile + row] = number;
    }
}

}  // namespace

Matrix layout_of(const std::string& name, size_t rows, size_t columns) {
  const SourceType& type = type_of(name);
  if (columns % type.numbers_per_block)
    throw std::invalid_argument(name + " rows must be whole blocks");
  Matrix layout;
  layout.format = type.format;
  layout.num_rows = rows;
  layout.num_columns = columns;
  return layout;
}

void repack_into(uint8_t* tiles, const std::string& name, size_t rows, size_t columns,
                 const uint8_t* bytes, size_t num_bytes, ThreadPool& pool) {
  const Matrix layout = layout_of(name, rows, columns);
  const SourceType& type = type_of(name);
  const size_t row_bytes = columns / type.numbers_per_block * type.bytes_per_block;
  if (rows * row_bytes != num_bytes)
    throw std::invalid_argument(
        name + " matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + " has " +
        std::to_string(rows * row_bytes) + " bytes, " + std::to_string(num_bytes) + " came");
  std::atomic<bool> fits{true};
  pool.run(layout.num_tiles(), [&](size_t t, int) {
    uint8_t* tile = tiles + t * layout.tile_bytes();
    const size_t first = t * kRowsPerTile, count = std::min(kRowsPerTile, rows - first);
    const uint8_t* from = bytes + first * row_bytes;
    if (type.format == Format::kFloat)
      return place_tile(tile, count, columns, reinterpret_cast<const uint32_t*>(from));
    if (!is_in_blocks(type.format))
      return place_tile(tile, count, columns, reinterpret_cast<const uint16_t*>(from));
    if (count < kRowsPerTile || layout.num_blocks() % 2) memset(tile, 0, layout.tile_bytes());
    for (size_t row = 0; row < count; ++row, from += row_bytes) {
      if (type.numbers_per_block == 32)
        place_row(tile, layout, type.bytes_per_block, row, from);
      else if (!place_k_row(tile, layout, type.bytes_per_block, row, from))
        fits = false;
    }
  });
  if (!fits) throw std::invalid_argument(name + ": a scale is beyond what float16 holds");
}

Matrix repack(const std::string& name, size_t rows, size_t columns, const uint8_t* bytes,
              size_t num_bytes, ThreadPool& pool) {
  Matrix matrix = layout_of(name, rows, columns);
  const size_t room = std::max<size_t>(matrix.num_bytes(), 64);
  const std::shared_ptr<uint8_t> tiles(
      static_cast<uint8_t*>(::operator new(room, std::align_val_t(64))), AlignedDelete{});
  repack_into(tiles.get(), name, rows, columns, bytes, num_bytes, pool);
  matrix.bytes = tiles;
  return matrix;
}

Matrix quantise_to_bytes(size_t rows, size_t columns, const float* numbers, ThreadPool& pool) {
  constexpr size_t kBlockBytes = 34;
  constexpr float kLargestHalf = 65504.0f;
  std::vector<uint8_t> blocks(rows * columns / 32 * kBlockBytes);
  for (size_t block = 0; block < rows * columns / 32; ++block) {
    const float* x = numbers + block * 32;
    float most = 0;
    bool is_finite = true;
    for (int i = 0; i < 32; ++i) {
      most = std::max(most, std::fabs(x[i]));
      is_finite &= std::isfinite(x[i]);
    }
    if (!is_finite || most > 127.0f * kLargestHalf)
      throw std::invalid_argument("a number is infinite, none, or too large for blocks of int8");
    const uint16_t scale = half_of_float(most / 127.0f);
    const float rounded = float_of_half(scale);
    uint8_t* to = &blocks[block * kBlockBytes];
    memcpy(to, &scale, 2);
    for (int i = 0; i < 32; ++i) {
      const float q = rounded > 0 ? std::nearbyint(x[i] / rounded) : 0.0f;
      to[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f)));
    }
  }
  return repack("Q8_0", rows, columns, blocks.data(), blocks.size(), pool);
}

void unpack_row(const Matrix& matrix, size_t n, float* y) {
  const size_t tile = n / kRowsPerTile, row = n % kRowsPerTile, K = matrix.num_columns;
  const uint8_t* from = matrix.tile(tile);
  if (matrix.format == Format::kFloat) {
    for (size_t k = 0; k < K; ++k) memcpy(y + k, from + (k * kRowsPerTile + row) * 4, 4);
    return;
  }
  if (!is_in_blocks(matrix.format)) {
    const auto* halves = reinterpret_cast<const uint16_t*>(from);
    for (size_t k = 0; k < K; ++k) {
      const uint16_t half = halves[k * kRowsPerTile + row];
      y[k] = matrix.format == Format::kHalf ? float_of_half(half) : float_of_bfloat(half);
    }
    return;
  }
  const TilePlaces at(matrix);
  auto half_at = [&](size_t place) {
    uint16_t half;
    memcpy(&half, from + place + row * 2, 2);
    return float_of_half(half);
  };
  const bool nibbles = is_nibbles(matrix.format);
  for (size_t block = 0; block < matrix.num_blocks(); ++block) {
    const float scale = half_at(at.scales(block));
    const float minimum = has_minimum(matrix.format) ? half_at(at.minimums(block)) : 0.0f;
    for (size_t i = 0; i < 32; ++i) {
      const size_t j = nibbles ? i % 16 : i;
      const uint8_t byte = from[at.quants(block) + (j / 4) * 64 + row * 4 + j % 4];
      int q = byte;
      if (nibbles) q = i < 16 ? byte & 15 : byte >> 4;
      if (matrix.format == Format::kNibblesFrom8) q -= 8;
      if (matrix.format == Format::kBytes) q = static_cast<int8_t>(byte);
      y[block * 32 + i] = scale * static_cast<float>(q) + minimum;
    }
  }
}
