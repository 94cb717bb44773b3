#pragma once
// Blocks of 256 numbers whose scales share a scale, as eight blocks of 32 with a half each.
//
// checkpoint/blocks.py has the formulas. What is rounded, with d and e the block's halves:
//   Q4_K, Q5_K  w = (d s) q - (e m): the products d s and e m go to the nearest half, so that
//               |w' - w| <= 2^-11 (|d s| q + |e m|).
//   Q6_K        w = d s (q - 32), a scale per 16: to int8 with a scale per 32, the smallest half
//               that holds the block's largest number M, so that |w' - w| <= M (1 + 2^-10) / 254,
//               and 2^-25 more where M is below 127 · 2^-14.
#include <cstdint>

struct Block32 {
  uint16_t scale, minimum;  // halves
  uint8_t quants[32];       // one number each; signed ones as int8
};

// Each reads one block of 256 and returns false when a scale is beyond what a half holds.
bool read_q4_k(const uint8_t* from, Block32* eight);
bool read_q5_k(const uint8_t* from, Block32* eight);
bool read_q6_k(const uint8_t* from, Block32* eight);
