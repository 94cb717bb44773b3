#include "kernels.h"

#include <stdexcept>

#define TRAMONTANE_TABLE(variant)                                     \
  static const Kernels variant##_kernels = {#variant,                 \
                                            &variant::matmul_tile,    \
                                            &variant::pack_rows,      \
                                            &variant::rms_norm,       \
                                            &variant::dot,            \
                                            &variant::rotate_heads,   \
                                            &variant::swiglu_tile,    \
                                            &variant::attend,         \
                                            &variant::join,           \
                                            &variant::keep,           \
                                            &variant::log_sum,        \
                                            &variant::log_softmax,    \
                                            &variant::read_bytes,     \
                                            &variant::multiply_bytes, \
                                            &variant::operations_per_round};
TRAMONTANE_EACH_VARIANT(TRAMONTANE_TABLE)
#undef TRAMONTANE_TABLE

namespace {

struct Known {
  const Kernels* kernels;
  std::string lacks;
};

// All that this build holds, the best first.
std::vector<Known> known() {
  std::vector<Known> all;
#if defined(TRAMONTANE_AVX2) || defined(TRAMONTANE_AVX512)
  __builtin_cpu_init();
  std::string lacks;
  const auto want = [&](const char* name, bool is_here) {
    if (!is_here) lacks += (lacks.empty() ? "" : ", ") + std::string(name);
  };
  want("avx2", __builtin_cpu_supports("avx2"));
  want("fma", __builtin_cpu_supports("fma"));
  want("f16c", __builtin_cpu_supports("f16c"));
#if defined(TRAMONTANE_AVX2)
  all.push_back({&avx2_kernels, lacks});
#endif
#if defined(TRAMONTANE_AVX512)
  want("avx512f", __builtin_cpu_supports("avx512f"));
  want("avx512bw", __builtin_cpu_supports("avx512bw"));
  want("avx512vl", __builtin_cpu_supports("avx512vl"));
  want("avx512dq", __builtin_cpu_supports("avx512dq"));
  want("avx512vnni", __builtin_cpu_supports("avx512vnni"));
  all.insert(all.begin(), {&avx512_kernels, lacks});
#endif
#endif
  all.push_back({&portable_kernels, ""});
  return all;
}

}  // namespace

std::vector<VariantHere> variants_here() {
  std::vector<VariantHere> found;
  for (const Known& one : known()) found.push_back({one.kernels->variant, one.lacks});
  return found;
}

std::vector<std::string> usable_variants() {
  std::vector<std::string> names;
  for (const VariantHere& one : variants_here())
    if (one.lacks.empty()) names.push_back(one.name);
  return names;
}

const Kernels& kernels_of(const std::string& variant) {
  std::string names;
  for (const Known& one : known()) {
    if (!one.lacks.empty()) continue;
    if (variant == one.kernels->variant) return *one.kernels;
    names += (names.empty() ? "" : ", ") + std::string(one.kernels->variant);
  }
  throw std::invalid_argument("variant " + variant + " cannot run here; usable: " + names);
}
