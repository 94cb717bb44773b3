#pragma once
// Spans of one forward pass, laid flat.
#include <cstddef>
#include <cstdint>
#include <vector>

struct Batch {
  std::vector<int32_t> token_ids;
  struct Span {
    size_t begin, count;       // its tokens in the batch
    int64_t start;             // position of its first token
    const int32_t* pages;      // of positions 0 to its last
    const uint8_t* allowed_E;  // which notes experts it has in place, in the order of hashes
    size_t num_logits;         // how many of its last tokens need logits
  };
  std::vector<Span> spans;
};
