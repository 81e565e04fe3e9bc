// What all kernels share. Every argument of a kernel is 64 bits wide: an address, a count, or the bits of a double, so that
// one table of numbers describes a launch, on a device and in the tests on the host alike.
//
// No kernel adds atomically: sums are made in an order that depends on the sizes alone, so a result has the same bits every
// time. Products and sums are not contracted behind the source's back (--fmad=false); where one rounding is wanted, fma says so.

typedef unsigned int u32;
typedef unsigned long long u64;

#define BLOCK 256

static __device__ inline double number(u64 bits) { return __longlong_as_double((long long)bits); }

static __device__ inline u32 first() { return blockIdx.x * BLOCK + threadIdx.x; }

static __device__ inline u32 stride() { return gridDim.x * BLOCK; }

// The sum over the block's threads, in every thread; `lanes` is shared.
static __device__ inline double block_sum(double x, double *lanes) {
  lanes[threadIdx.x] = x;
  __syncthreads();
  for (u32 half = BLOCK / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) lanes[threadIdx.x] += lanes[threadIdx.x + half];
    __syncthreads();
  }
  double sum = lanes[0];
  __syncthreads();
  return sum;
}

// relu; NaN stays NaN.
template <class T> static __device__ inline T clip(T x) { return x < T(0) ? T(0) : x; }
