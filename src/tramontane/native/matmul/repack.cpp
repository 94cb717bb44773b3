#include "matmul/repack.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "half.h"

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
    {"F32", Format::kFloat, 1, 4},
    {"F16", Format::kHalf, 1, 2},
    {"BF16", Format::kBFloat, 1, 2},
};

Matrix empty(Format format, size_t rows, size_t columns) {
  Matrix matrix;
  matrix.format = format;
  matrix.num_rows = rows;
  matrix.num_columns = columns;
  const size_t num_bytes = std::max<size_t>(matrix.num_tiles() * matrix.tile_bytes(), 64);
  matrix.bytes.reset(static_cast<uint8_t*>(::operator new(num_bytes, std::align_val_t(64))));
  return matrix;
}

uint8_t* mutable_tile(Matrix& matrix, size_t tile) {
  return matrix.bytes.get() + tile * matrix.tile_bytes();
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

// One row of blocks into lane `row` of a tile.
void place_row(Matrix& matrix, const SourceType& type, size_t tile, size_t row,
               const uint8_t* from) {
  uint8_t* to_tile = mutable_tile(matrix, tile);
  const TilePlaces at(matrix);
  const bool minimum = has_minimum(type.format);
  const size_t words = is_nibbles(type.format) ? 4 : 8;
  for (size_t block = 0; block < matrix.num_blocks(); ++block, from += type.bytes_per_block) {
    memcpy(to_tile + at.scales(block) + row * 2, from, 2);
    if (minimum) memcpy(to_tile + at.minimums(block) + row * 2, from + 2, 2);
    const uint8_t* body = from + (minimum ? 4 : 2);
    uint8_t five_bits[32];
    if (type.bytes_per_block == 22 || type.bytes_per_block == 24) {
      unpack_five_bits(body, body + 4, minimum ? 0 : 16, five_bits);
      body = five_bits;
    }
    uint8_t* to = to_tile + at.quants(block) + row * 4;
    for (size_t word = 0; word < words; ++word) memcpy(to + word * 64, body + word * 4, 4);
  }
}

template <class Number>
void place_tile(Matrix& matrix, size_t tile, const Number* from) {
  Number* to = reinterpret_cast<Number*>(mutable_tile(matrix, tile));
  const size_t first = tile * kRowsPerTile, K = matrix.num_columns;
  const size_t rows = std::min(kRowsPerTile, matrix.num_rows - first);
  for (size_t k = 0; k < K; ++k)
    for (size_t row = 0; row < kRowsPerTile; ++row) {
      Number number = 0;
      if (row < rows) memcpy(&number, from + (first + row) * K + k, sizeof number);
      to[k * kRowsPerTile + row] = number;
    }
}

}  // namespace

Matrix repack(const std::string& name, size_t rows, size_t columns, const uint8_t* bytes,
              size_t num_bytes, ThreadPool& pool) {
  const SourceType* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                        [&](const SourceType& t) { return name == t.name; });
  if (type == std::end(kTypes)) throw std::invalid_argument("type " + name + " is not known");
  if (columns % type->numbers_per_block)
    throw std::invalid_argument(name + " rows must be whole blocks");
  const size_t row_bytes = columns / type->numbers_per_block * type->bytes_per_block;
  if (rows * row_bytes != num_bytes)
    throw std::invalid_argument(
        name + " matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + " has " +
        std::to_string(rows * row_bytes) + " bytes, " + std::to_string(num_bytes) + " came");
  Matrix matrix = empty(type->format, rows, columns);
  pool.run(matrix.num_tiles(), [&](size_t tile, int) {
    if (type->format == Format::kFloat)
      return place_tile(matrix, tile, reinterpret_cast<const uint32_t*>(bytes));
    if (!is_in_blocks(type->format))
      return place_tile(matrix, tile, reinterpret_cast<const uint16_t*>(bytes));
    const size_t first = tile * kRowsPerTile, count = std::min(kRowsPerTile, rows - first);
    if (count < kRowsPerTile || matrix.num_blocks() % 2)
      memset(mutable_tile(matrix, tile), 0, matrix.tile_bytes());
    for (size_t row = 0; row < count; ++row)
      place_row(matrix, *type, tile, row, bytes + (first + row) * row_bytes);
  });
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
