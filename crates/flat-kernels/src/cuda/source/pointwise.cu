// Element by element: relu and its mask; and by channel of (outer, channels, inner): a shift, and sums.

template <class T> static __device__ void relu(const T *x, T *y, u64 n) {
  for (u32 e = first(); e < n; e += stride()) y[e] = clip(x[e]);
}

template <class T> static __device__ void add_relu(const T *a, const T *b, T *y, u64 n) {
  for (u32 e = first(); e < n; e += stride()) y[e] = clip(a[e] + b[e]);
}

// g where relu gave a y that is not zero; whatever g is elsewhere, the result is zero there.
template <class T> static __device__ void relu_mask(const T *g, const T *y, T *out, u64 n) {
  for (u32 e = first(); e < n; e += stride()) out[e] = y[e] <= T(0) ? T(0) : g[e];
}

template <class T> static __device__ void channel_shift(const T *x, const T *shift, T *y, u64 n, u64 channels, u64 inner) {
  for (u32 e = first(); e < n; e += stride()) y[e] = x[e] + shift[e / (u32)inner % (u32)channels];
}

// The sum over a run of a channel, for each of gridDim.y runs: `out[run][channel]`.
template <class T, class Out> static __device__ void channel_sums(const T *x, Out *out, u64 count, u64 channels, u64 inner) {
  __shared__ double lanes[BLOCK];
  u32 c = blockIdx.x;
  u64 per = (count + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * per, end = begin + per < count ? begin + per : count;
  double sum = 0;
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) sum += double(x[((u64)((u32)e / (u32)inner) * channels + c) * inner + (u32)e % (u32)inner]);
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) out[blockIdx.y * channels + c] = Out(sum);
}

// The sums of all runs.
template <class T> static __device__ void channel_total(const double *partial, T *out, u64 channels, u64 parts) {
  for (u32 c = first(); c < channels; c += stride()) {
    double sum = 0;
    for (u64 p = 0; p < parts; p++) sum += partial[p * channels + c];
    out[c] = T(sum);
  }
}

#define KERNELS(T, NAME)                                                                                                                                                                     \
  extern "C" __global__ void relu_##NAME(const T *x, T *y, u64 n) { relu(x, y, n); }                                                                                                         \
  extern "C" __global__ void add_relu_##NAME(const T *a, const T *b, T *y, u64 n) { add_relu(a, b, y, n); }                                                                                  \
  extern "C" __global__ void relu_mask_##NAME(const T *g, const T *y, T *out, u64 n) { relu_mask(g, y, out, n); }                                                                            \
  extern "C" __global__ void channel_shift_##NAME(const T *x, const T *shift, T *y, u64 n, u64 channels, u64 inner) { channel_shift(x, shift, y, n, channels, inner); }                      \
  extern "C" __global__ void channel_sums_##NAME(const T *x, double *partial, u64 count, u64 channels, u64 inner) { channel_sums<T, double>(x, partial, count, channels, inner); }           \
  extern "C" __global__ void channel_sum_##NAME(const T *x, T *out, u64 count, u64 channels, u64 inner) { channel_sums<T, T>(x, out, count, channels, inner); }                             \
  extern "C" __global__ void channel_total_##NAME(const double *partial, T *out, u64 channels, u64 parts) { channel_total(partial, out, channels, parts); }
KERNELS(float, f32)
KERNELS(double, f64)
