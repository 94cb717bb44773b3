#include "kernels.h"

#include <stdexcept>

#define TRAMONTANE_TABLE(variant)                                                          \
  static const Kernels variant##_kernels = {                                               \
      #variant,          &variant::matmul_tile, &variant::pack_rows,   &variant::rms_norm, \
      &variant::dot,     &variant::rotate_head, &variant::swiglu_tile, &variant::attend,   \
      &variant::keep_key};
TRAMONTANE_EACH_VARIANT(TRAMONTANE_TABLE)
#undef TRAMONTANE_TABLE

static std::vector<const Kernels*> usable() {
  std::vector<const Kernels*> found;
#if defined(TRAMONTANE_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni"))
    found.push_back(&avx512_kernels);
  if (avx2) found.push_back(&avx2_kernels);
#endif
  found.push_back(&portable_kernels);
  return found;
}

std::vector<std::string> usable_variants() {
  std::vector<std::string> names;
  for (const Kernels* kernels : usable()) names.push_back(kernels->variant);
  return names;
}

const Kernels& kernels_of(const std::string& variant) {
  std::string names;
  for (const Kernels* kernels : usable()) {
    if (variant == kernels->variant) return *kernels;
    names += (names.empty() ? "" : ", ") + std::string(kernels->variant);
  }
  throw std::invalid_argument("variant " + variant + " cannot run here; usable: " + names);
}
