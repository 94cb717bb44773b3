#pragma once
// A half as a float and back, without the help of an instruction set.
#include <cmath>
#include <cstdint>
#include <cstring>

inline float float_of_half(uint16_t half) {
  const uint32_t plain = static_cast<uint32_t>(half & 0x7FFF) << 13;
  float y;
  if ((half & 0x7C00) == 0x7C00) {
    const uint32_t bits = plain | 0x7F800000;
    memcpy(&y, &bits, 4);
  } else {
    memcpy(&y, &plain, 4);
    y *= 0x1p112f;  // moves the exponent's bias, and gives denormals their value
  }
  return half & 0x8000 ? -y : y;
}

inline float float_of_bfloat(uint16_t bfloat) {
  const uint32_t bits = static_cast<uint32_t>(bfloat) << 16;
  float y;
  memcpy(&y, &bits, 4);
  return y;
}

// To the nearest even, for 0 ≤ x < 65520.
inline uint16_t half_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (bits < 0x38800000) {
    // Denormal: adding 0.5 leaves the half's bits at the end of the fraction, rounded.
    const float moved = x + 0.5f;
    memcpy(&bits, &moved, 4);
    return static_cast<uint16_t>(bits - 0x3F000000);
  }
  return static_cast<uint16_t>((bits - 0x38000000 + 0xFFF + ((bits >> 13) & 1)) >> 13);
}
