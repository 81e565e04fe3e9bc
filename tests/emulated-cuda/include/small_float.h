// Floating-point numbers of 16 and 8 bits, computed in float and rounded to the nearest.
#pragma once
#include "device.h"

struct FlatBfloat16 {
  typedef uint16_t Bits;
  static uint16_t round(float x) {
    unsigned u = flat_bits<unsigned>(x);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
  static float widen(uint16_t b) { return flat_bits<float>(unsigned(b) << 16); }
};

// E bits of exponent, M of mantissa, with infinities and NaNs where IEEE, else one NaN.
template <class B, int E, int M, bool IEEE> struct FlatSmall {
  typedef B Bits;
  static constexpr int BIAS = (1 << (E - 1)) - 1;
  static float widen(B b) {
    int e = (b >> M) & ((1 << E) - 1), m = b & ((1 << M) - 1);
    float sign = b >> (E + M) ? -1.0f : 1.0f;
    if (IEEE && e == (1 << E) - 1) return m ? NAN : sign * INFINITY;
    if (!IEEE && e == (1 << E) - 1 && m == (1 << M) - 1) return NAN;
    return sign * (e ? ldexpf(float((1 << M) + m), e - BIAS - M) : ldexpf(float(m), 1 - BIAS - M));
  }
  static B round(float x) {
    B sign = B(std::signbit(x)) << (E + M);
    const B infinite = ((1 << E) - 1) << M, nan = IEEE ? B(infinite | 1 << (M - 1)) : B(infinite | ((1 << M) - 1));
    // beyond the largest: infinity, or that largest where there is none
    const B beyond = IEEE ? infinite : B(nan - 1);
    if (x != x) return sign | nan;
    float a = fabsf(x);
    if (a == 0) return sign;
    int e;
    frexpf(a, &e);
    e = e - 1 < 1 - BIAS ? 1 - BIAS : e - 1;
    long r = lrintf(ldexpf(a, M - e)); // to even, as the host rounds
    if (r >= 2 << M) r >>= 1, e++;
    long code = r < 1 << M ? r : ((long)(e + BIAS) << M) + (r - (1 << M));
    return sign | (code > beyond ? beyond : B(code));
  }
};

template <class F> struct FlatFloat {
  typename F::Bits __x;
  FlatFloat() = default;
  template <class T, class = typename std::enable_if<std::is_arithmetic<T>::value>::type> FlatFloat(T x) : __x(F::round(float(x))) {}
  template <class G> explicit FlatFloat(FlatFloat<G> x) : __x(F::round(float(x))) {}
  operator float() const { return F::widen(__x); }
  FlatFloat &operator+=(FlatFloat o) { return *this = FlatFloat(float(*this) + float(o)); }
  FlatFloat &operator*=(FlatFloat o) { return *this = FlatFloat(float(*this) * float(o)); }
};
#define FLAT_OPERATOR(OP) \
  template <class F> static inline FlatFloat<F> operator OP(FlatFloat<F> a, FlatFloat<F> b) { return FlatFloat<F>(float(a) OP float(b)); }
FLAT_OPERATOR(+)
FLAT_OPERATOR(-)
FLAT_OPERATOR(*)
FLAT_OPERATOR(/)
template <class F> static inline FlatFloat<F> operator-(FlatFloat<F> a) { return FlatFloat<F>(-float(a)); }

typedef FlatFloat<FlatBfloat16> __nv_bfloat16;
typedef FlatFloat<FlatSmall<uint16_t, 5, 10, true>> __half;
typedef FlatFloat<FlatSmall<uint8_t, 4, 3, false>> __nv_fp8_e4m3;
#define __NV_E4M3 0
static inline __half __nv_cvt_fp8_to_halfraw(uint8_t x, int) {
  __nv_fp8_e4m3 f;
  f.__x = x;
  return __half(float(f));
}
template <class T> struct FlatPair {
  T x, y;
};
typedef FlatPair<__nv_bfloat16> __nv_bfloat162;
typedef FlatPair<__half> __half2;
template <class T> static inline FlatPair<T> __hadd2(FlatPair<T> a, FlatPair<T> b) { return {a.x + b.x, a.y + b.y}; }
template <class T> static inline FlatPair<T> __hsub2(FlatPair<T> a, FlatPair<T> b) { return {a.x - b.x, a.y - b.y}; }
template <class T> static inline FlatPair<T> __hmul2(FlatPair<T> a, FlatPair<T> b) { return {a.x * b.x, a.y * b.y}; }
template <class T> static inline FlatPair<T> __h2div(FlatPair<T> a, FlatPair<T> b) { return {a.x / b.x, a.y / b.y}; }

static inline float __half2float(__half x) { return x; }
static inline __half __float2half(float x) { return __half(x); }
static inline float __bfloat162float(__nv_bfloat16 x) { return x; }
static inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
static inline unsigned short __half_as_ushort(__half x) { return x.__x; }
static inline __half __ushort_as_half(unsigned short x) {
  __half h;
  h.__x = x;
  return h;
}
#define FLAT_SAME(NAME, EXPRESSION) \
  template <class F> static inline FlatFloat<F> NAME(FlatFloat<F> a) { return FlatFloat<F>(EXPRESSION); }
FLAT_SAME(hsqrt, sqrtf(a))
FLAT_SAME(hcos, cosf(a))
FLAT_SAME(hsin, sinf(a))
FLAT_SAME(hlog, logf(a))
FLAT_SAME(hexp, expf(a))
FLAT_SAME(__habs, fabsf(a))
template <class F> static inline bool __hisnan(FlatFloat<F> a) { return std::isnan(float(a)); }
template <class F> static inline FlatFloat<F> __hmax_nan(FlatFloat<F> a, FlatFloat<F> b) { return __hisnan(a) ? a : __hisnan(b) ? b : float(a) < float(b) ? b : a; }
template <class F> static inline FlatFloat<F> __hmin_nan(FlatFloat<F> a, FlatFloat<F> b) { return __hisnan(a) ? a : __hisnan(b) ? b : float(b) < float(a) ? b : a; }
