#pragma once
// One variant's kernels, as the transformer calls them.
#include <string>
#include <vector>

#include "attention/attention.h"
#include "log_softmax/log_softmax.h"
#include "matmul/matmul.h"
#include "measure/measure.h"
#include "pack/pack.h"
#include "rms_norm/rms_norm.h"
#include "rope/rope.h"
#include "swiglu/swiglu.h"

struct Kernels {
  const char* variant;
  decltype(&portable::matmul_tile) matmul_tile;
  decltype(&portable::pack_rows) pack_rows;
  decltype(&portable::rms_norm) rms_norm;
  decltype(&portable::dot) dot;
  decltype(&portable::rotate_heads) rotate_heads;
  decltype(&portable::swiglu_tile) swiglu_tile;
  decltype(&portable::attend) attend;
  decltype(&portable::join) join;
  decltype(&portable::keep) keep;
  decltype(&portable::log_sum) log_sum;
  decltype(&portable::log_softmax) log_softmax;
  decltype(&portable::read_bytes) read_bytes;
  decltype(&portable::multiply_bytes) multiply_bytes;
  decltype(&portable::operations_per_round) operations_per_round;
};

// A variant of this build, and what this machine lacks of it ("avx512vnni"; empty: it can run).
struct VariantHere {
  std::string name, lacks;
};

// The variants that this build holds, the best first.
std::vector<VariantHere> variants_here();

// The variants that this build holds and this machine can run, the best first.
std::vector<std::string> usable_variants();

// Throws std::invalid_argument for a variant that isn't usable here, naming those that are.
const Kernels& kernels_of(const std::string& variant);
