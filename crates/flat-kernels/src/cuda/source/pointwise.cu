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

template <class T> static __device__ void channel_shift(const T *x, const T *shift, T *y, u64 n, u64 channels, u64 inner, u64 relu) {
  for (u32 e = first(); e < n; e += stride()) {
    T v = x[e] + shift[e / (u32)inner % (u32)channels];
    y[e] = relu ? clip(v) : v;
  }
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

// The gradient of channel_shift with relu, which gave y: the first `blocks` blocks write that of x, and each of the others that
// of its channel's shift.
template <class T> static __device__ void shift_gradient(const T *g, const T *y, T *dx, T *dshift, u64 blocks, u64 n, u64 channels, u64 inner) {
  __shared__ double lanes[BLOCK];
  if (blockIdx.x < blocks) {
    for (u32 e = first(); e < n; e += (u32)blocks * BLOCK) dx[e] = y[e] <= T(0) ? T(0) : g[e];
    return;
  }
  u32 c = blockIdx.x - (u32)blocks;
  u64 count = n / channels;
  double sum = 0;
  for (u64 i = threadIdx.x; i < count; i += BLOCK) {
    u64 e = ((u64)((u32)i / (u32)inner) * channels + c) * inner + (u32)i % (u32)inner;
    sum += y[e] <= T(0) ? 0 : double(g[e]);
  }
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) dshift[c] = T(sum);
}

// The mean of every plane, and the transpose of that: an equal share for each element.
template <class T> static __device__ void plane_mean(const T *x, T *y, u64 planes, u64 area) {
  for (u32 p = first(); p < planes; p += stride()) {
    const T *plane = x + p * area;
    double sum = 0;
    for (u64 i = 0; i < area; i++) sum += double(plane[i]);
    y[p] = T(sum / double(area));
  }
}

template <class T> static __device__ void plane_share(const T *g, T *x, u64 n, u64 area) {
  for (u32 e = first(); e < n; e += stride()) x[e] = T(double(g[e / (u32)area]) / double(area));
}

// The sums of all runs.
template <class T> static __device__ void channel_total(const double *partial, T *out, u64 channels, u64 parts) {
  for (u32 c = first(); c < channels; c += stride()) {
    double sum = 0;
    for (u64 p = 0; p < parts; p++) sum += partial[p * channels + c];
    out[c] = T(sum);
  }
}

#define KERNELS(T, NAME)                                                                                                                                                           \
  extern "C" __global__ void relu_##NAME(const T *x, T *y, u64 n) { relu(x, y, n); }                                                                                               \
  extern "C" __global__ void add_relu_##NAME(const T *a, const T *b, T *y, u64 n) { add_relu(a, b, y, n); }                                                                        \
  extern "C" __global__ void relu_mask_##NAME(const T *g, const T *y, T *out, u64 n) { relu_mask(g, y, out, n); }                                                                  \
  extern "C" __global__ void channel_shift_##NAME(const T *x, const T *shift, T *y, u64 n, u64 channels, u64 inner, u64 relu) {                                                    \
    channel_shift(x, shift, y, n, channels, inner, relu);                                                                                                                          \
  }                                                                                                                                                                                \
  extern "C" __global__ void shift_gradient_##NAME(const T *g, const T *y, T *dx, T *dshift, u64 blocks, u64 n, u64 channels, u64 inner) {                                         \
    shift_gradient(g, y, dx, dshift, blocks, n, channels, inner);                                                                                                                  \
  }                                                                                                                                                                                \
  extern "C" __global__ void plane_mean_##NAME(const T *x, T *y, u64 planes, u64 area) { plane_mean(x, y, planes, area); }                                                         \
  extern "C" __global__ void plane_share_##NAME(const T *g, T *x, u64 n, u64 area) { plane_share(g, x, n, area); }                                                                 \
  extern "C" __global__ void channel_sums_##NAME(const T *x, double *partial, u64 count, u64 channels, u64 inner) { channel_sums<T, double>(x, partial, count, channels, inner); } \
  extern "C" __global__ void channel_sum_##NAME(const T *x, T *out, u64 count, u64 channels, u64 inner) { channel_sums<T, T>(x, out, count, channels, inner); }                    \
  extern "C" __global__ void channel_total_##NAME(const double *partial, T *out, u64 channels, u64 parts) { channel_total(partial, out, channels, parts); }
KERNELS(float, f32)
KERNELS(double, f64)
