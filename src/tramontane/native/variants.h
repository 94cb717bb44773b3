#pragma once
// The instruction sets that kernels are compiled for. Each kernel header declares its operation in
// a namespace per variant; the choice is made once, when a transformer is made.

// Calls MACRO(name) for every variant that this build contains.
#if defined(TRAMONTANE_X86)
#define TRAMONTANE_EACH_VARIANT(MACRO) MACRO(portable) MACRO(avx2) MACRO(avx512)
#else
#define TRAMONTANE_EACH_VARIANT(MACRO) MACRO(portable)
#endif
