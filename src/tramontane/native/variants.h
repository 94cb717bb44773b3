#pragma once
// The instruction sets that kernels are compiled for. Each kernel header declares its operation in
// a namespace per variant; the choice is made once, when a transformer is made.

#if defined(TRAMONTANE_AVX2)
#define TRAMONTANE_IF_AVX2(MACRO) MACRO(avx2)
#else
#define TRAMONTANE_IF_AVX2(MACRO)
#endif
#if defined(TRAMONTANE_AVX512)
#define TRAMONTANE_IF_AVX512(MACRO) MACRO(avx512)
#else
#define TRAMONTANE_IF_AVX512(MACRO)
#endif

// Calls MACRO(name) for every variant that this build contains.
#define TRAMONTANE_EACH_VARIANT(MACRO) \
  MACRO(portable) TRAMONTANE_IF_AVX2(MACRO) TRAMONTANE_IF_AVX512(MACRO)
