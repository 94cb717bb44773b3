#pragma once
// What this machine can do, measured: how fast memory is read, how fast int8 is multiplied.
#include <cstddef>
#include <cstdint>

#include "variants.h"

#define TRAMONTANE_DECLARE(variant)                                \
  namespace variant {                                              \
  uint64_t read_bytes(const uint8_t* bytes, size_t num_bytes);     \
  uint32_t multiply_bytes(const int8_t* bytes, size_t num_rounds); \
  double operations_per_round();                                   \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE

struct Kernels;

// Bytes read per second by `num_threads` streams over a buffer of `num_bytes`, the best of several
// passes within about `seconds`. Throws std::bad_alloc when there is no room for the buffer.
double read_bandwidth(const Kernels& kernels, int num_threads, size_t num_bytes, double seconds);

// Multiplications and additions of int8 per second, in registers; the best of several stretches.
double int8_rate(const Kernels& kernels, int num_threads, double seconds);
