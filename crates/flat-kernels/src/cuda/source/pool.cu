// Max pooling of planes of h x w into oh x ow, the linear map that picks the same places of another tensor, and its transpose.

// The first of the largest elements of every window in row order, or its first NaN, and its place in the plane. Before it a
// shift a channel unless that address is null, after it relu where asked.
template <class T>
static __device__ void pool_max(const T *x, T *y, u32 *places, u64 planes, u64 h, u64 w, u64 oh, u64 ow, u64 kernel, u64 stride_, u64 padding, const T *shift, u64 channels, u64 relu) {
  u64 n = planes * oh * ow;
  for (u32 e = first(); e < n; e += stride()) {
    u32 column = e % (u32)ow, rest = e / (u32)ow, row = rest % (u32)oh, plane = rest / (u32)oh;
    const T *from = x + (u64)plane * h * w;
    u64 top = row * stride_, left = column * stride_;
    u64 r0 = top > padding ? top - padding : 0, c0 = left > padding ? left - padding : 0;
    u64 r1 = top + kernel - padding, c1 = left + kernel - padding;
    r1 = r1 < h ? r1 : h;
    c1 = c1 < w ? c1 : w;
    u64 at = r0 * w + c0;
    T by = shift ? shift[plane % (u32)channels] : T(0);
    T best = shift ? from[at] + by : from[at];
    for (u64 r = r0; r < r1; r++)
      for (u64 c = c0; c < c1; c++) {
        T v = shift ? from[r * w + c] + by : from[r * w + c];
        // a NaN stays once found
        if (v > best || (v != v && best == best)) {
          best = v;
          at = r * w + c;
        }
      }
    y[e] = relu ? clip(best) : best;
    places[e] = (u32)at;
  }
}

template <class T> static __device__ void pool_gather(const T *x, const u32 *places, T *y, u64 planes, u64 area, u64 outputs) {
  u64 n = planes * outputs;
  for (u32 e = first(); e < n; e += stride()) y[e] = x[(u64)(e / (u32)outputs) * area + places[e]];
}

// Every element asks the windows over it whether they chose it, in row order: nothing is added atomically. Where y is given,
// relu gave it. The first `blocks` blocks do that; each of the others sums what all windows of its channel put back, which is the
// gradient of the channel's shift.
template <class T>
static __device__ void pool_scatter(const T *g, const u32 *places, T *x, u64 planes, u64 h, u64 w, u64 oh, u64 ow, u64 kernel, u64 stride_, u64 padding, const T *y, T *shift, u64 channels,
                                    u64 blocks) {
  __shared__ double lanes[BLOCK];
  if (blockIdx.x >= blocks) {
    u32 channel = blockIdx.x - (u32)blocks;
    u64 area = oh * ow, count = planes / channels * area;
    double sum = 0;
    for (u64 i = threadIdx.x; i < count; i += BLOCK) {
      u64 at = ((u64)((u32)i / (u32)area) * channels + channel) * area + (u32)i % (u32)area;
      if (!y || !(y[at] <= T(0))) sum += double(g[at]);
    }
    sum = block_sum(sum, lanes);
    if (threadIdx.x == 0) shift[channel] = T(sum);
    return;
  }
  u64 n = planes * h * w;
  for (u32 e = first(); e < n; e += (u32)blocks * BLOCK) {
    u32 column = e % (u32)w, rest = e / (u32)w, row = rest % (u32)h, plane = rest / (u32)h, here = row * (u32)w + column;
    u64 r = row + padding, c = column + padding;
    u64 i0 = r >= kernel ? (r - kernel) / stride_ + 1 : 0, j0 = c >= kernel ? (c - kernel) / stride_ + 1 : 0;
    u64 i1 = r / stride_ + 1, j1 = c / stride_ + 1;
    i1 = i1 < oh ? i1 : oh;
    j1 = j1 < ow ? j1 : ow;
    T sum = T(0);
    for (u64 i = i0; i < i1; i++)
      for (u64 j = j0; j < j1; j++) {
        u64 at = ((u64)plane * oh + i) * ow + j;
        if (places[at] == here && (!y || !(y[at] <= T(0)))) sum += g[at];
      }
    x[e] = sum;
  }
}

#define KERNELS(T, NAME)                                                                                                                                                               \
  extern "C" __global__ void pool_max_##NAME(const T *x, T *y, u32 *places, u64 planes, u64 h, u64 w, u64 oh, u64 ow, u64 kernel, u64 stride_, u64 padding, const T *shift,          \
                                             u64 channels, u64 relu) {                                                                                                               \
    pool_max(x, y, places, planes, h, w, oh, ow, kernel, stride_, padding, shift, channels, relu);                                                                                   \
  }                                                                                                                                                                                  \
  extern "C" __global__ void pool_gather_##NAME(const T *x, const u32 *places, T *y, u64 planes, u64 area, u64 outputs) {                                                            \
    pool_gather(x, places, y, planes, area, outputs);                                                                                                                                \
  }                                                                                                                                                                                  \
  extern "C" __global__ void pool_scatter_##NAME(const T *g, const u32 *places, T *x, u64 planes, u64 h, u64 w, u64 oh, u64 ow, u64 kernel, u64 stride_, u64 padding, const T *y,    \
                                                 T *shift, u64 channels, u64 blocks) {                                                                                               \
    pool_scatter(g, places, x, planes, h, w, oh, ow, kernel, stride_, padding, y, shift, channels, blocks);                                                                          \
  }
KERNELS(float, f32)
KERNELS(double, f64)
