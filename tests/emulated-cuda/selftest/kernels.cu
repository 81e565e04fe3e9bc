// Small kernels, right ones and ones with a fault each.
typedef unsigned long long u64;

extern "C" __global__ void twice(const float *x, float *y, u64 n) {
  u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2 * x[i];
}
// one index too far
extern "C" __global__ void beyond(const float *x, float *y, u64 n) {
  u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[i < n ? i : 0];
}
extern "C" __global__ void load_beyond(const float *x, float *y, u64 n) {
  u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i + 1];
}
// a wild address
extern "C" __global__ void nowhere(const float *x, float *y, u64 n) {
  if (threadIdx.x == 0) y[0] = *(const float *)(u64)64 + x[0] * n;
}
extern "C" __global__ void misaligned(const char *x, double *y, u64 n) {
  if (threadIdx.x == 0) y[0] = *(const double *)(x + 4) + n;
}

template <int BARRIERS> static __device__ void sum(const float *x, float *y, u64 n) {
  __shared__ float lanes[64];
  lanes[threadIdx.x] = threadIdx.x < n ? x[threadIdx.x] : 0;
  if (BARRIERS > 0) __syncthreads();
  for (unsigned half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) lanes[threadIdx.x] += lanes[threadIdx.x + half];
    if (BARRIERS > 1) __syncthreads();
  }
  if (threadIdx.x == 0) y[0] = lanes[0];
}
extern "C" __global__ void sum_right(const float *x, float *y, u64 n) { sum<2>(x, y, n); }
extern "C" __global__ void sum_no_inner_barrier(const float *x, float *y, u64 n) { sum<1>(x, y, n); }
extern "C" __global__ void sum_no_barrier(const float *x, float *y, u64 n) { sum<0>(x, y, n); }
extern "C" __global__ void shared_unset(const float *x, float *y, u64 n) {
  __shared__ float lanes[64];
  if (threadIdx.x > 0) lanes[threadIdx.x] = x[0];
  __syncthreads();
  if (threadIdx.x == 0) y[0] = lanes[0] + n;
}
extern "C" __global__ void diverged(const float *x, float *y, u64 n) {
  if (threadIdx.x < 32) return;
  __syncthreads();
  y[threadIdx.x] = x[0] + n;
}
// all blocks write one place
extern "C" __global__ void blocks_race(const float *x, float *y, u64 n) {
  if (threadIdx.x == 0) y[0] = x[0] + blockIdx.x + n;
}
// a block reads what another wrote
extern "C" __global__ void blocks_read(const float *x, float *y, u64 n) {
  if (threadIdx.x == 0) y[blockIdx.x] = x[0] + n;
  if (threadIdx.x == 1) y[32 + blockIdx.x] = y[(blockIdx.x + 1) % gridDim.x];
}
extern "C" __global__ void atomics(const float *x, float *y, u64 n) { atomicAdd(y, x[0] * n); }
extern "C" __global__ void shuffle(const float *x, float *y, u64 n) {
  float v = threadIdx.x < n ? x[threadIdx.x] : 0;
  for (int mask = 16; mask > 0; mask >>= 1) v += __shfl_xor_sync(0xffffffff, v, mask);
  y[threadIdx.x] = v;
}
