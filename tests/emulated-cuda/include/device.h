// What CUDA C++ has beyond C++, for sources of kernels on the host. See ../src/block.cpp for the threads.
#pragma once
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
using std::isinf;
using std::isnan;
using std::signbit;

struct FlatIndex {
  unsigned x, y, z;
};
typedef void (*FlatEntry)(void **);
struct FlatKernel {
  const char *name;
  FlatEntry entry;
};
// constant to a thread: the compiler need not load them again, nor are they looked at
extern "C" {
extern const FlatIndex flat_thread, flat_block, flat_block_size, flat_grid_size;
void flat_barrier();
uint64_t flat_shuffle(uint64_t mine, unsigned other);
void flat_atomic1(void *), flat_atomic2(void *), flat_atomic4(void *), flat_atomic8(void *), flat_atomic16(void *);
}
#define threadIdx flat_thread
#define blockIdx flat_block
#define blockDim flat_block_size
#define gridDim flat_grid_size

#ifndef FLAT_NAMES
#define __global__
#endif
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static

static inline void __syncthreads() { flat_barrier(); }

#define FLAT_UNSEEN __attribute__((no_sanitize("thread")))

template <class T> FLAT_UNSEEN static T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
  static_assert(sizeof(T) <= 8, "a shuffle of more than 64 bits");
  uint64_t bits = 0, theirs;
  memcpy(&bits, &value, sizeof value);
  unsigned lane = (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  theirs = flat_shuffle(bits, lane ^ unsigned(mask));
  memcpy(&value, &theirs, sizeof value);
  return value;
}

template <class T> static inline void flat_atomic(T *p) {
  sizeof(T) == 1 ? flat_atomic1(p) : sizeof(T) == 2 ? flat_atomic2(p) : sizeof(T) == 4 ? flat_atomic4(p) : flat_atomic8(p);
}
template <class T> struct FlatSame {
  typedef T type;
};
#define FLAT_ATOMIC(NAME, NEW)                                                           \
  template <class T> FLAT_UNSEEN static T NAME(T *p, typename FlatSame<T>::type value) { \
    flat_atomic(p);                                                                      \
    T old = *p;                                                                          \
    *p = NEW;                                                                            \
    return old;                                                                          \
  }
FLAT_ATOMIC(atomicAdd, old + value)
FLAT_ATOMIC(atomicMax, old < value ? value : old)
FLAT_ATOMIC(atomicMin, value < old ? value : old)
FLAT_ATOMIC(atomicExch, value)
template <class T> FLAT_UNSEEN static T atomicCAS(T *p, typename FlatSame<T>::type expected, typename FlatSame<T>::type value) {
  flat_atomic(p);
  T old = *p;
  if (old == expected) *p = value;
  return old;
}

template <class To, class From> static inline To flat_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline double __longlong_as_double(long long x) { return flat_bits<double>(x); }
static inline long long __double_as_longlong(double x) { return flat_bits<long long>(x); }
static inline float __int_as_float(int x) { return flat_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return flat_bits<float>(x); }
static inline int __float_as_int(float x) { return flat_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return flat_bits<unsigned>(x); }

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class A, class B> static constexpr typename std::common_type<A, B>::type min(A a, B b) {
  typedef typename std::common_type<A, B>::type C;
  return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B> static constexpr typename std::common_type<A, B>::type max(A a, B b) {
  typedef typename std::common_type<A, B>::type C;
  return C(a) < C(b) ? C(b) : C(a);
}
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
static inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }

// A kernel's call from the addresses of its arguments.
template <auto F> struct FlatCall;
template <class... A, void (*F)(A...)> struct FlatCall<F> {
  template <size_t... I> FLAT_UNSEEN static void with(void **args, std::index_sequence<I...>) { F(*(std::remove_const_t<A> *)args[I]...); }
  FLAT_UNSEEN static void run(void **args) { with(args, std::index_sequence_for<A...>{}); }
};
#define FLAT_KERNELS_BEGIN extern "C" __attribute__((visibility("default"))) const FlatKernel flat_kernels[] = {
#define FLAT_KERNEL(NAME) {#NAME, FlatCall<NAME>::run},
#define FLAT_KERNELS_END {nullptr, nullptr}};
