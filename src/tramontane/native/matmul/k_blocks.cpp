#include "matmul/k_blocks.h"

#include <algorithm>
#include <cmath>

#include "half.h"

namespace {

constexpr float kLargestHalf = 65504.0f;

float half_at(const uint8_t* from) {
  uint16_t half;
  memcpy(&half, from, 2);
  return float_of_half(half);
}

// To the nearest half, of either sign; false beyond the largest.
bool round_to_half(float x, uint16_t* half) {
  if (!(std::fabs(x) <= kLargestHalf)) return false;
  *half = static_cast<uint16_t>(half_of_float(std::fabs(x)) | (std::signbit(x) ? 0x8000 : 0));
  return true;
}

// Q4_K's and Q5_K's halves d and e, and the twelve bytes that hold eight scales and minima of six
// bits: the first four of each in the lower bits of four bytes, then the last four's lower halves
// side by side, their upper two bits on top of the first eight bytes.
bool read_scales(const uint8_t* from, Block32* eight) {
  const float d = half_at(from), e = half_at(from + 2);
  const uint8_t* packed = from + 4;
  bool fits = true;
  for (int i = 0; i < 8; ++i) {
    int scale = packed[i % 4] & 63, minimum = packed[i % 4 + 4] & 63;
    if (i >= 4) {
      scale = (packed[i + 4] & 15) | (packed[i - 4] >> 6 << 4);
      minimum = (packed[i + 4] >> 4) | (packed[i] >> 6 << 4);
    }
    fits &= round_to_half(d * static_cast<float>(scale), &eight[i].scale);
    fits &= round_to_half(-e * static_cast<float>(minimum), &eight[i].minimum);
  }
  return fits;
}

// 128 bytes: of each 32 the lower halves are one group, the upper ones the next.
void read_nibbles(const uint8_t* from, Block32* eight) {
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 32; ++j) {
      const uint8_t both = from[i / 2 * 32 + j];
      eight[i].quants[j] = i % 2 ? both >> 4 : both & 15;
    }
}

}  // namespace

bool read_q4_k(const uint8_t* from, Block32* eight) {
  read_nibbles(from + 16, eight);
  return read_scales(from, eight);
}

bool read_q5_k(const uint8_t* from, Block32* eight) {
  read_nibbles(from + 48, eight);
  // Byte j of the 32 has in bit i the fifth bit of number j of group i.
  const uint8_t* fifths = from + 16;
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 32; ++j)
      eight[i].quants[j] |= static_cast<uint8_t>((fifths[j] >> i & 1) << 4);
  return read_scales(from, eight);
}

bool read_q6_k(const uint8_t* from, Block32* eight) {
  const uint8_t *lower = from, *upper = from + 128;
  const auto* scales = reinterpret_cast<const int8_t*>(from + 192);
  const float d = half_at(from + 208);
  bool fits = true;
  for (int i = 0; i < 8; ++i) {
    // Of each 128 numbers, 64 bytes hold the lower four bits of two runs of 32 twice over, and 32
    // bytes the upper two bits of all four runs.
    const int part = i / 4, run = i % 4;
    float numbers[32], most = 0;
    for (int j = 0; j < 32; ++j) {
      const uint8_t both = lower[part * 64 + run % 2 * 32 + j];
      const int four = run < 2 ? both & 15 : both >> 4;
      const int two = upper[part * 32 + j] >> (2 * run) & 3;
      const int scale = scales[i * 2 + j / 16];
      numbers[j] = d * static_cast<float>(scale) * static_cast<float>((four | two << 4) - 32);
      most = std::max(most, std::fabs(numbers[j]));
    }
    Block32& block = eight[i];
    if (!round_to_half(most / 127.0f, &block.scale)) {
      fits = false;
      continue;
    }
    // A half below would leave the largest number outside.
    if (float_of_half(block.scale) * 127.0f < most) ++block.scale;
    const float scale = float_of_half(block.scale);
    for (int j = 0; j < 32; ++j) {
      const float quant = scale > 0 ? std::nearbyint(numbers[j] / scale) : 0.0f;
      block.quants[j] = static_cast<uint8_t>(static_cast<int8_t>(quant));
    }
  }
  return fits;
}
