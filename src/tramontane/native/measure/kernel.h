// Two loops that do one thing each: read, and multiply.
#include "lanes.h"
#include "measure/measure.h"

namespace TRAMONTANE_VARIANT {

// As many sums at once as registers hold.
constexpr size_t kSumsAtOnce = kParts == 1 ? 12 : kParts == 2 ? 4 : 2;

// All bytes' words, xor-ed and added up, so that none can be left out; `num_bytes` a multiple of
// 256.
uint64_t read_bytes(const uint8_t* bytes, size_t num_bytes) {
  Ints sums[2] = {all_ints(0), all_ints(0)};
  for (size_t at = 0; at < num_bytes; at += 256) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < 4; ++i) {
      const Ints words = load_ints(reinterpret_cast<const int32_t*>(bytes + at + i * 64));
      TRAMONTANE_PARTS sums[i % 2].part[p] ^= words.part[p];
    }
  }
  int32_t lanes[2 * kLanes];
  store_ints(lanes, sums[0]);
  store_ints(lanes + kLanes, sums[1]);
  uint64_t sum = 0;
  for (const int32_t lane : lanes) sum += static_cast<uint32_t>(lane);
  return sum;
}

// In every round each sum takes 64 products more; `bytes` holds 256.
uint32_t multiply_bytes(const int8_t* bytes, size_t num_rounds) {
  Bytes w[2];
  TRAMONTANE_UNROLL for (size_t i = 0; i < 2; ++i) w[i] =
      lower_bits(load_bytes(reinterpret_cast<const uint8_t*>(bytes) + 64 * i));
  Ints sums[kSumsAtOnce];
  TRAMONTANE_UNROLL for (size_t i = 0; i < kSumsAtOnce; ++i) sums[i] = all_ints(0);
  for (size_t round = 0; round < num_rounds; ++round) {
    // Another place each round: products that stay the same would be taken out of the loop.
    const int8_t* x = bytes + round % 4 * 48;
    TRAMONTANE_UNROLL for (size_t i = 0; i < kSumsAtOnce; ++i) sums[i] =
        add_products(sums[i], w[i % 2], x + 4 * i, false);
  }
  uint32_t total = 0;
  for (const Ints& sum : sums) {
    int32_t lanes[kLanes];
    store_ints(lanes, sum);
    for (const int32_t lane : lanes) total += static_cast<uint32_t>(lane);
  }
  return total;
}

double operations_per_round() { return 2.0 * 64 * kSumsAtOnce; }

}  // namespace TRAMONTANE_VARIANT
