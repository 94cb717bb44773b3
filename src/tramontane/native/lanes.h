#pragma once
// Sixteen numbers at a time, in whatever registers the variant has: one of AVX-512, two of AVX2,
// four of the compiler's own vectors. Kernels are written once over these and compiled per variant.
//
// Everything is inlined and lives in the variant's namespace: a function shared between variants
// could be linked in a version that this machine cannot run.
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef TRAMONTANE_VARIANT
#error "a kernel is compiled for one variant: define TRAMONTANE_VARIANT"
#endif
#define TRAMONTANE_INLINE static inline __attribute__((always_inline))
#define TRAMONTANE_UNROLL _Pragma("GCC unroll 16")
// Rows whose sums stay in registers; with fewer registers they are better left in memory.
#if defined(__AVX512F__)
#define TRAMONTANE_UNROLL_ROWS TRAMONTANE_UNROLL
#else
#define TRAMONTANE_UNROLL_ROWS _Pragma("GCC unroll 1")
#endif

namespace TRAMONTANE_VARIANT {

constexpr size_t kLanes = 16;

#if defined(__AVX512F__)
using FloatRegister = __m512;
using IntRegister = __m512i;
#elif defined(__AVX2__)
using FloatRegister = __m256;
using IntRegister = __m256i;
#else
typedef float FloatRegister __attribute__((vector_size(16)));
typedef int32_t IntRegister __attribute__((vector_size(16)));
#endif
constexpr size_t kWidth = sizeof(FloatRegister) / sizeof(float);
constexpr size_t kParts = kLanes / kWidth;

struct Floats {
  FloatRegister part[kParts];
};
struct Ints {
  IntRegister part[kParts];
};

#define TRAMONTANE_PARTS TRAMONTANE_UNROLL for (size_t p = 0; p < kParts; ++p)

TRAMONTANE_INLINE Floats load(const float* x) {
  Floats y;
  TRAMONTANE_PARTS memcpy(&y.part[p], x + p * kWidth, sizeof(FloatRegister));
  return y;
}
TRAMONTANE_INLINE void store(float* y, Floats x) {
  TRAMONTANE_PARTS memcpy(y + p * kWidth, &x.part[p], sizeof(FloatRegister));
}
// The first `count` of 16 numbers, zeros after them.
TRAMONTANE_INLINE Floats load_some(const float* x, size_t count) {
  if (count >= kLanes) return load(x);
  float all[kLanes] = {};
  for (size_t i = 0; i < count; ++i) all[i] = x[i];
  return load(all);
}
TRAMONTANE_INLINE void store_some(float* y, Floats x, size_t count) {
  if (count >= kLanes) return store(y, x);
  float all[kLanes];
  store(all, x);
  for (size_t i = 0; i < count; ++i) y[i] = all[i];
}
TRAMONTANE_INLINE Ints load_ints(const int32_t* x) {
  Ints y;
  TRAMONTANE_PARTS memcpy(&y.part[p], x + p * kWidth, sizeof(IntRegister));
  return y;
}
TRAMONTANE_INLINE void store_ints(int32_t* y, Ints x) {
  TRAMONTANE_PARTS memcpy(y + p * kWidth, &x.part[p], sizeof(IntRegister));
}

#if defined(__AVX512F__)
TRAMONTANE_INLINE Floats all(float x) { return {{_mm512_set1_ps(x)}}; }
TRAMONTANE_INLINE Ints all_ints(int32_t x) { return {{_mm512_set1_epi32(x)}}; }
TRAMONTANE_INLINE Floats add(Floats a, Floats b) { return {{_mm512_add_ps(a.part[0], b.part[0])}}; }
TRAMONTANE_INLINE Floats sub(Floats a, Floats b) { return {{_mm512_sub_ps(a.part[0], b.part[0])}}; }
TRAMONTANE_INLINE Floats mul(Floats a, Floats b) { return {{_mm512_mul_ps(a.part[0], b.part[0])}}; }
TRAMONTANE_INLINE Floats div(Floats a, Floats b) { return {{_mm512_div_ps(a.part[0], b.part[0])}}; }
TRAMONTANE_INLINE Floats larger(Floats a, Floats b) {
  return {{_mm512_max_ps(a.part[0], b.part[0])}};
}
TRAMONTANE_INLINE Floats smaller(Floats a, Floats b) {
  return {{_mm512_min_ps(a.part[0], b.part[0])}};
}
// a · b + c, rounded once.
TRAMONTANE_INLINE Floats fma(Floats a, Floats b, Floats c) {
  return {{_mm512_fmadd_ps(a.part[0], b.part[0], c.part[0])}};
}
TRAMONTANE_INLINE Floats magnitude(Floats a) { return {{_mm512_abs_ps(a.part[0])}}; }
TRAMONTANE_INLINE Floats to_floats(Ints a) { return {{_mm512_cvtepi32_ps(a.part[0])}}; }
// To the nearest, ties to the even one.
TRAMONTANE_INLINE Ints to_ints(Floats a) { return {{_mm512_cvtps_epi32(a.part[0])}}; }
TRAMONTANE_INLINE Floats from_half(const uint16_t* x) {
  __m256i halves;
  memcpy(&halves, x, sizeof halves);
  return {{_mm512_cvtph_ps(halves)}};
}
TRAMONTANE_INLINE Floats from_bfloat(const uint16_t* x) {
  __m256i halves;
  memcpy(&halves, x, sizeof halves);
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))}};
}
#elif defined(__AVX2__)
TRAMONTANE_INLINE Floats all(float x) { return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}}; }
TRAMONTANE_INLINE Ints all_ints(int32_t x) {
  return {{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}};
}
#define TRAMONTANE_PAIRWISE(name, intrinsic)                      \
  TRAMONTANE_INLINE Floats name(Floats a, Floats b) {             \
    Floats y;                                                     \
    TRAMONTANE_PARTS y.part[p] = intrinsic(a.part[p], b.part[p]); \
    return y;                                                     \
  }
TRAMONTANE_PAIRWISE(add, _mm256_add_ps)
TRAMONTANE_PAIRWISE(sub, _mm256_sub_ps)
TRAMONTANE_PAIRWISE(mul, _mm256_mul_ps)
TRAMONTANE_PAIRWISE(div, _mm256_div_ps)
TRAMONTANE_PAIRWISE(larger, _mm256_max_ps)
TRAMONTANE_PAIRWISE(smaller, _mm256_min_ps)
#undef TRAMONTANE_PAIRWISE
// a · b + c, rounded once.
TRAMONTANE_INLINE Floats fma(Floats a, Floats b, Floats c) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = _mm256_fmadd_ps(a.part[p], b.part[p], c.part[p]);
  return y;
}
TRAMONTANE_INLINE Floats magnitude(Floats a) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.part[p]);
  return y;
}
TRAMONTANE_INLINE Floats to_floats(Ints a) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = _mm256_cvtepi32_ps(a.part[p]);
  return y;
}
// To the nearest, ties to the even one.
TRAMONTANE_INLINE Ints to_ints(Floats a) {
  Ints y;
  TRAMONTANE_PARTS y.part[p] = _mm256_cvtps_epi32(a.part[p]);
  return y;
}
TRAMONTANE_INLINE Floats from_half(const uint16_t* x) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] =
      _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + p * kWidth)));
  return y;
}
TRAMONTANE_INLINE Floats from_bfloat(const uint16_t* x) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + p * kWidth))),
      16));
  return y;
}
#else
TRAMONTANE_INLINE Floats all(float x) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = FloatRegister{x, x, x, x};
  return y;
}
TRAMONTANE_INLINE Ints all_ints(int32_t x) {
  Ints y;
  TRAMONTANE_PARTS y.part[p] = IntRegister{x, x, x, x};
  return y;
}
#define TRAMONTANE_PAIRWISE(name, expression)           \
  TRAMONTANE_INLINE Floats name(Floats x, Floats y) {   \
    TRAMONTANE_PARTS {                                  \
      const FloatRegister a = x.part[p], b = y.part[p]; \
      x.part[p] = (expression);                         \
    }                                                   \
    return x;                                           \
  }
TRAMONTANE_PAIRWISE(add, a + b)
TRAMONTANE_PAIRWISE(sub, a - b)
TRAMONTANE_PAIRWISE(mul, a* b)
TRAMONTANE_PAIRWISE(div, a / b)
TRAMONTANE_PAIRWISE(larger, a > b ? a : b)
TRAMONTANE_PAIRWISE(smaller, a < b ? a : b)
#undef TRAMONTANE_PAIRWISE
// a · b + c, rounded twice here; every kernel of the variant does so, hence bits still agree.
TRAMONTANE_INLINE Floats fma(Floats a, Floats b, Floats c) {
  TRAMONTANE_PARTS c.part[p] = a.part[p] * b.part[p] + c.part[p];
  return c;
}
TRAMONTANE_INLINE Floats magnitude(Floats a) {
  TRAMONTANE_PARTS a.part[p] =
      (FloatRegister)((IntRegister)a.part[p] & IntRegister{~0, ~0, ~0, ~0} & 0x7FFFFFFF);
  return a;
}
TRAMONTANE_INLINE Floats to_floats(Ints a) {
  Floats y;
  TRAMONTANE_PARTS y.part[p] = __builtin_convertvector(a.part[p], FloatRegister);
  return y;
}
// To the nearest, ties to the even one: 1.5 · 2^23 leaves no room for a fraction. |a| < 2^22.
TRAMONTANE_INLINE Ints to_ints(Floats a) {
  Ints y;
  TRAMONTANE_PARTS y.part[p] = (IntRegister)(a.part[p] + 12582912.0f) - (int32_t)0x4B400000;
  return y;
}
TRAMONTANE_INLINE Floats from_half(const uint16_t* x) {
  Floats y;
  TRAMONTANE_PARTS {
    const uint16_t* h = x + p * kWidth;
    const IntRegister bits = {h[0], h[1], h[2], h[3]};
    const IntRegister exponent = bits & 0x7C00;
    // Scaling by 2^112 moves the exponent's bias and gives denormals their value.
    const FloatRegister wide = (FloatRegister)((bits & 0x7FFF) << 13) * 0x1p112f;
    const IntRegister special = (exponent == 0x7C00) & 0x7F800000;
    y.part[p] = (FloatRegister)((IntRegister)wide | special | ((bits & 0x8000) << 16));
  }
  return y;
}
TRAMONTANE_INLINE Floats from_bfloat(const uint16_t* x) {
  Floats y;
  TRAMONTANE_PARTS {
    const uint16_t* h = x + p * kWidth;
    y.part[p] = (FloatRegister)(IntRegister{h[0], h[1], h[2], h[3]} << 16);
  }
  return y;
}
#endif

TRAMONTANE_INLINE Floats from_signed_bytes(const int8_t* x) {
  Floats y;
#if defined(__AVX512F__)
  y.part[0] = _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
#elif defined(__AVX2__)
  TRAMONTANE_PARTS y.part[p] = _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + p * kWidth))));
#else
  TRAMONTANE_PARTS {
    const int8_t* b = x + p * kWidth;
    y.part[p] = __builtin_convertvector(IntRegister{b[0], b[1], b[2], b[3]}, FloatRegister);
  }
#endif
  return y;
}
// Sixteen numbers from -128 to 127.
TRAMONTANE_INLINE void store_signed_bytes(int8_t* y, Ints x) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm512_cvtepi32_epi8(x.part[0]));
#else
  int32_t lane[kLanes];
  store_ints(lane, x);
  for (size_t i = 0; i < kLanes; ++i) y[i] = static_cast<int8_t>(lane[i]);
#endif
}

// Lanes 2i and 2i + 1 change places.
TRAMONTANE_INLINE Floats neighbours_swapped(Floats x) {
#if defined(__AVX512F__)
  x.part[0] = _mm512_permute_ps(x.part[0], 0xB1);
#elif defined(__AVX2__)
  TRAMONTANE_PARTS x.part[p] = _mm256_permute_ps(x.part[p], 0xB1);
#else
  TRAMONTANE_PARTS x.part[p] =
      FloatRegister{x.part[p][1], x.part[p][0], x.part[p][3], x.part[p][2]};
#endif
  return x;
}

// Lane i where i is in [first, end) as it is, `other` elsewhere.
TRAMONTANE_INLINE Floats within(Floats x, int first, int end, float other) {
#if defined(__AVX512F__)
  const int from = first < 0 ? 0 : first > 16 ? 16 : first, to = end < 0 ? 0 : end > 16 ? 16 : end;
  const uint32_t lanes = ((1u << to) - 1) & ~((1u << from) - 1);
  return {{_mm512_mask_mov_ps(_mm512_set1_ps(other), static_cast<__mmask16>(lanes), x.part[0])}};
#else
  float lane[kLanes];
  store(lane, x);
  for (int i = 0; i < static_cast<int>(kLanes); ++i)
    if (i < first || i >= end) lane[i] = other;
  return load(lane);
#endif
}

// Sums lanes in one fixed tree: i with i + 8, then + 4, + 2, + 1.
TRAMONTANE_INLINE float sum_of(Floats x) {
#if defined(__AVX512F__)
  __m256 s = _mm256_add_ps(_mm512_castps512_ps256(x.part[0]), _mm512_extractf32x8_ps(x.part[0], 1));
#elif defined(__AVX2__)
  __m256 s = _mm256_add_ps(x.part[0], x.part[1]);
#endif
#if defined(__AVX2__)
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
#else
  const FloatRegister s = (x.part[0] + x.part[2]) + (x.part[1] + x.part[3]);
  return (s[0] + s[2]) + (s[1] + s[3]);
#endif
}
TRAMONTANE_INLINE float largest_of(Floats x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps(x.part[0]);
#else
  float lane[kLanes];
  store(lane, x);
  for (size_t step = kLanes / 2; step; step /= 2)
    for (size_t i = 0; i < step; ++i) lane[i] = lane[i] > lane[i + step] ? lane[i] : lane[i + step];
  return lane[0];
#endif
}

// e^x to about two units in the last place: 2^n · e^r, |r| ≤ ln 2 / 2. e^0 is 1 and e^-inf is 0,
// exactly; results below 2^-126 are 0. NaN stays NaN.
TRAMONTANE_INLINE Floats exponential(Floats x) {
  // In this order of operands NaN passes.
  const Floats clamped = larger(all(-104.0f), smaller(all(88.0f), x));
  const Ints n = to_ints(mul(clamped, all(1.44269504f)));
  const Floats n_float = to_floats(n);
  Floats r = fma(n_float, all(-0.693359375f), clamped);
  r = fma(n_float, all(2.12194440e-4f), r);
  Floats y = fma(r, all(1.9875691500e-4f), all(1.3981999507e-3f));
  y = fma(y, r, all(8.3334519073e-3f));
  y = fma(y, r, all(4.1665795894e-2f));
  y = fma(y, r, all(1.6666665459e-1f));
  y = fma(y, r, all(5.0000001201e-1f));
  y = fma(y, mul(r, r), r);
  y = add(y, all(1.0f));
#if defined(__AVX512F__)
  y.part[0] = _mm512_scalef_ps(y.part[0], n_float.part[0]);
  y.part[0] = _mm512_mask_mov_ps(_mm512_setzero_ps(),
                                 _mm512_cmp_ps_mask(x.part[0], _mm512_set1_ps(-87.0f), _CMP_NLT_UQ),
                                 y.part[0]);
#elif defined(__AVX2__)
  TRAMONTANE_PARTS {
    const __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(n.part[p], _mm256_set1_epi32(127)), 23);
    const __m256 scaled = _mm256_mul_ps(y.part[p], _mm256_castsi256_ps(power));
    const __m256 above = _mm256_cmp_ps(x.part[p], _mm256_set1_ps(-87.0f), _CMP_NLT_UQ);
    y.part[p] = _mm256_and_ps(scaled, above);
  }
#else
  TRAMONTANE_PARTS {
    const FloatRegister scaled = y.part[p] * (FloatRegister)((n.part[p] + 127) << 23);
    const IntRegister below = x.part[p] < -87.0f;
    y.part[p] = (FloatRegister)((IntRegister)scaled & ~below);
  }
#endif
  return y;
}

// 2^x for x ≤ 127, to about one unit in the last place: 2^n · 2^r, |r| ≤ 1/2. 2^0 is 1 and 2^-inf
// is 0, exactly. NaN stays NaN.
TRAMONTANE_INLINE Floats power_of_two(Floats x) {
  // Far enough down that nothing is left; in this order of operands NaN passes.
#if defined(__AVX512F__)
  x = larger(all(-152.0f), x);
  const Floats n = {{_mm512_roundscale_ps(x.part[0], _MM_FROUND_TO_NEAREST_INT)}};
#else
  x = larger(all(-127.0f), x);
  const Ints whole = to_ints(x);
  const Floats n = to_floats(whole);
#endif
  const Floats r = sub(x, n);
  // The polynomial's own error is 2e-9 of the result.
  Floats y = fma(r, all(0x1.41fbbcp-13f), all(0x1.5f3e54p-10f));
  y = fma(y, r, all(0x1.3b2d4cp-7f));
  y = fma(y, r, all(0x1.c6aee8p-5f));
  y = fma(y, r, all(0x1.ebfbdcp-3f));
  y = fma(y, r, all(0x1.62e430p-1f));
  y = fma(y, r, all(1.0f));
#if defined(__AVX512F__)
  y.part[0] = _mm512_scalef_ps(y.part[0], n.part[0]);
#elif defined(__AVX2__)
  TRAMONTANE_PARTS y.part[p] =
      _mm256_mul_ps(y.part[p], _mm256_castsi256_ps(_mm256_slli_epi32(
                                   _mm256_add_epi32(whole.part[p], _mm256_set1_epi32(127)), 23)));
#else
  TRAMONTANE_PARTS y.part[p] *= (FloatRegister)((whole.part[p] + 127) << 23);
#endif
  return y;
}

// Sixteen halves of sixteen floats, to the nearest even; what is too large becomes the largest
// half, since an infinite value times a closed 0 would be NaN.
TRAMONTANE_INLINE void store_halves(uint16_t* y, Floats x) {
  const Floats fit = larger(all(-65504.0f), smaller(all(65504.0f), x));
#if defined(__AVX512F__)
  const __m256i halves = _mm512_cvtps_ph(fit.part[0], _MM_FROUND_TO_NEAREST_INT);
  memcpy(y, &halves, sizeof halves);
#elif defined(__AVX2__)
  TRAMONTANE_PARTS _mm_storeu_si128(reinterpret_cast<__m128i*>(y + p * kWidth),
                                    _mm256_cvtps_ph(fit.part[p], _MM_FROUND_TO_NEAREST_INT));
#else
  float lane[kLanes];
  store(lane, fit);
  for (size_t i = 0; i < kLanes; ++i) {
    uint32_t bits;
    memcpy(&bits, &lane[i], 4);
    const uint32_t sign = (bits >> 16) & 0x8000, plain = bits & 0x7FFFFFFF;
    uint32_t half;
    if (plain > 0x7F800000) {
      half = 0x7E00;
    } else if (plain < 0x38800000) {
      // A denormal half: adding 0.5 leaves its bits at the end of the fraction, rounded.
      float value;
      memcpy(&value, &plain, 4);
      value += 0.5f;
      memcpy(&half, &value, 4);
      half -= 0x3F000000;
    } else {
      half = (plain - 0x38000000 + 0xFFF + ((plain >> 13) & 1)) >> 13;
    }
    y[i] = static_cast<uint16_t>(sign | half);
  }
#endif
}

// 64 bytes: sixteen rows of four neighbouring columns, a row to a lane.
struct Bytes {
#if defined(__AVX512F__)
  __m512i part[1];
#elif defined(__AVX2__)
  __m256i part[2];
#else
  IntRegister part[4];
#endif
};

TRAMONTANE_INLINE Bytes load_bytes(const uint8_t* x) {
  Bytes y;
  // Register by register: copied whole, they would pass through the stack in smaller pieces.
  TRAMONTANE_PARTS memcpy(&y.part[p], x + p * sizeof(IntRegister), sizeof(IntRegister));
  return y;
}
TRAMONTANE_INLINE void store_bytes(uint8_t* y, Bytes x) {
  TRAMONTANE_PARTS memcpy(y + p * sizeof(IntRegister), &x.part[p], sizeof(IntRegister));
}
// The lower four bits of every byte, and the upper.
TRAMONTANE_INLINE Bytes lower_bits(Bytes x) {
#if defined(__AVX512F__)
  x.part[0] = _mm512_and_si512(x.part[0], _mm512_set1_epi8(15));
#elif defined(__AVX2__)
  TRAMONTANE_PARTS x.part[p] = _mm256_and_si256(x.part[p], _mm256_set1_epi8(15));
#else
  TRAMONTANE_PARTS x.part[p] &= 0x0F0F0F0F;
#endif
  return x;
}
TRAMONTANE_INLINE Bytes upper_bits(Bytes x) {
#if defined(__AVX512F__)
  x.part[0] = _mm512_and_si512(_mm512_srli_epi16(x.part[0], 4), _mm512_set1_epi8(15));
#elif defined(__AVX2__)
  TRAMONTANE_PARTS x.part[p] =
      _mm256_and_si256(_mm256_srli_epi16(x.part[p], 4), _mm256_set1_epi8(15));
#else
  TRAMONTANE_PARTS x.part[p] = (x.part[p] >> 4) & 0x0F0F0F0F;
#endif
  return x;
}

// VNNI multiplies bytes without sign by bytes with one. Signed weights are therefore lifted by 128
// there, and every sum starts at -128 Σx. Elsewhere they are taken as they are.
#if defined(__AVX512VNNI__)
constexpr bool kLiftsSigned = true;
#else
constexpr bool kLiftsSigned = false;
#endif
TRAMONTANE_INLINE Bytes lift_signed(Bytes x) {
#if defined(__AVX512VNNI__)
  x.part[0] = _mm512_xor_si512(x.part[0], _mm512_set1_epi8(static_cast<char>(0x80)));
#endif
  return x;
}

// sum[i] + Σ_j w[4i + j] · x[j] for the four bytes at x; exact. `is_signed`: w holds int8 (where
// not lifted), otherwise numbers from 0 to 31.
TRAMONTANE_INLINE Ints add_products(Ints sum, Bytes w, const int8_t* x, bool is_signed) {
  int32_t four;
  memcpy(&four, x, 4);
#if defined(__AVX512VNNI__)
  (void)is_signed;
  sum.part[0] = _mm512_dpbusd_epi32(sum.part[0], w.part[0], _mm512_set1_epi32(four));
#elif defined(__AVX2__)
  const __m256i x4 = _mm256_set1_epi32(four), ones = _mm256_set1_epi16(1);
  TRAMONTANE_PARTS {
    // |w| · (x with w's sign): pairs stay below 2 · 128 · 127, within 16 bits.
    const __m256i pairs = is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w.part[p]),
                                                           _mm256_sign_epi8(x4, w.part[p]))
                                    : _mm256_maddubs_epi16(w.part[p], x4);
    sum.part[p] = _mm256_add_epi32(sum.part[p], _mm256_madd_epi16(pairs, ones));
  }
#else
  (void)is_signed;
  typedef int16_t Shorts __attribute__((vector_size(16)));
  const int16_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
  const Shorts even = {x0, x2, x0, x2, x0, x2, x0, x2}, odd = {x1, x3, x1, x3, x1, x3, x1, x3};
  (void)four;
  TRAMONTANE_PARTS {
    // Bytes 0 and 1, and bytes 2 and 3 of a lane: two products stay within 16 bits.
    const Shorts w16 = (Shorts)w.part[p];
    const IntRegister pairs = (IntRegister)((w16 << 8 >> 8) * even + (w16 >> 8) * odd);
    sum.part[p] += (pairs << 16 >> 16) + (pairs >> 16);
  }
#endif
  return sum;
}

}  // namespace TRAMONTANE_VARIANT
