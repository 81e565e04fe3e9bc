// Normalisation by channel of (outer, channels, inner): y = relu(gain (x - mean) r + bias + skip), and its gradient.
//
// `stats` holds mean, variance and r = 1 / sqrt(variance + eps) of all channels, one row each, in double. A channel is summed
// in `parts` runs, whose sums are `partial[part][quantity][channel]`.

struct Run {
  u64 begin, end;
};

static __device__ inline Run run_of(u64 count, u64 parts) {
  u64 per = (count + parts - 1) / parts, begin = blockIdx.y * per;
  Run run = {begin < count ? begin : count, begin + per < count ? begin + per : count};
  return run;
}

// The place of the `e`-th element of a channel.
static __device__ inline u64 place(u32 e, u32 channel, u32 channels, u32 inner) {
  return ((u64)(e / inner) * channels + channel) * inner + e % inner;
}

template <class T> static __device__ void sums(const T *x, double *partial, u64 outer, u64 channels, u64 inner, u64 parts) {
  __shared__ double lanes[BLOCK];
  u32 c = blockIdx.x;
  // about the mean, so that the squares of small deviations are not lost beside it
  double shift = double(x[c * inner]), sum = 0, squares = 0;
  Run run = run_of(outer * inner, parts);
  for (u64 e = run.begin + threadIdx.x; e < run.end; e += BLOCK) {
    double d = double(x[place(e, c, channels, inner)]) - shift;
    sum += d;
    squares += d * d;
  }
  sum = block_sum(sum, lanes);
  squares = block_sum(squares, lanes);
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.y * channels + c] = sum;
    partial[(2 * blockIdx.y + 1) * channels + c] = squares;
  }
}

template <class T>
static __device__ void stats(const T *x, const double *partial, double *stats, u64 count, u64 channels, u64 inner, u64 parts, double eps) {
  for (u32 c = first(); c < channels; c += stride()) {
    double sum = 0, squares = 0;
    for (u64 p = 0; p < parts; p++) {
      sum += partial[2 * p * channels + c];
      squares += partial[(2 * p + 1) * channels + c];
    }
    double off = sum / count, var = squares / count - off * off;
    // a NaN is no less than zero, and stays
    var = var < 0 ? 0 : var;
    stats[c] = double(x[c * inner]) + off;
    stats[channels + c] = var;
    stats[2 * channels + c] = 1 / sqrt(var + eps);
  }
}

// What every pass makes the output with, so that relu's place is the same in all of them.
template <class T> static __device__ inline T affine(T x, u32 c, const T *gain, const T *bias, const double *stats, u64 channels) {
  return fma(x - T(stats[c]), T(stats[2 * channels + c]) * gain[c], bias[c]);
}

template <class T>
static __device__ void apply(const T *x, const T *gain, const T *bias, const T *skip, const double *stats, T *y, u64 n, u64 channels, u64 inner, u64 relu) {
  for (u32 e = first(); e < n; e += stride()) {
    T v = affine(x[e], e / (u32)inner % (u32)channels, gain, bias, stats, channels);
    if (skip) v += skip[e];
    y[e] = relu ? clip(v) : v;
  }
}

// g where relu let x through: where the output y is positive, which is given or computed again. mask: 0 no relu, 1 again, 2 given.
template <class T>
static __device__ inline T masked(T g, u64 e, u32 c, const T *x, const T *y, const T *gain, const T *bias, const double *stats, u64 channels, u64 mask) {
  if (mask == 0) return g;
  T out = mask == 2 ? y[e] : affine(x[e], c, gain, bias, stats, channels);
  return out <= T(0) ? T(0) : g;
}

template <class T>
static __device__ void backward_sums(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, double *partial, u64 outer, u64 channels, u64 inner, u64 parts, u64 mask) {
  __shared__ double lanes[BLOCK];
  u32 c = blockIdx.x;
  double mean = stats[c], r = stats[2 * channels + c], sum = 0, along = 0;
  Run run = run_of(outer * inner, parts);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = place(i, c, channels, inner);
    double h = double(masked(g[e], e, c, x, y, gain, bias, stats, channels, mask));
    sum += h;
    along += h * ((double(x[e]) - mean) * r);
  }
  sum = block_sum(sum, lanes);
  along = block_sum(along, lanes);
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.y * channels + c] = sum;
    partial[(2 * blockIdx.y + 1) * channels + c] = along;
  }
}

// Gradients of bias and gain, and the means of the same sums in double (`total`: two rows).
template <class T> static __device__ void backward_total(const double *partial, double *total, T *dgain, T *dbias, u64 count, u64 channels, u64 parts) {
  for (u32 c = first(); c < channels; c += stride()) {
    double sum = 0, along = 0;
    for (u64 p = 0; p < parts; p++) {
      sum += partial[2 * p * channels + c];
      along += partial[(2 * p + 1) * channels + c];
    }
    total[c] = sum / double(count);
    total[channels + c] = along / double(count);
    dbias[c] = T(sum);
    dgain[c] = T(along);
  }
}

// batch: whether mean and r depend on x. dskip may be null.
template <class T>
static __device__ void backward_apply(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, const double *total, T *dx, T *dskip, u64 n, u64 channels, u64 inner, u64 mask, u64 batch) {
  for (u32 e = first(); e < n; e += stride()) {
    u32 c = e / (u32)inner % (u32)channels;
    T h = masked(g[e], e, c, x, y, gain, bias, stats, channels, mask), r = T(stats[2 * channels + c]);
    if (dskip) dskip[e] = h;
    T d = h;
    if (batch) {
      T normal = (x[e] - T(stats[c])) * r;
      d = h - T(total[c]) - normal * T(total[channels + c]);
    }
    dx[e] = d * (r * gain[c]);
  }
}

// Running statistics move towards the batch's by `momentum`, and one more batch has been seen.
template <class T> static __device__ void moved(const double *stats, T *mean, T *var, u64 *seen, u64 channels, double unbiased, double momentum) {
  if (first() == 0) seen[0] += 1;
  for (u32 c = first(); c < channels; c += stride()) {
    mean[c] = T((1 - momentum) * double(mean[c]) + momentum * stats[c]);
    var[c] = T((1 - momentum) * double(var[c]) + momentum * (stats[channels + c] * unbiased));
  }
}

#define KERNELS(T, NAME)                                                                                                                                                        \
  extern "C" __global__ void norm_sums_##NAME(const T *x, double *partial, u64 outer, u64 channels, u64 inner, u64 parts) {                                                     \
    sums(x, partial, outer, channels, inner, parts);                                                                                                                            \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_stats_##NAME(const T *x, const double *partial, double *out, u64 count, u64 channels, u64 inner, u64 parts, u64 eps) {                        \
    stats(x, partial, out, count, channels, inner, parts, number(eps));                                                                                                         \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_apply_##NAME(const T *x, const T *gain, const T *bias, const T *skip, const double *stats, T *y, u64 n, u64 channels, u64 inner, u64 relu) {  \
    apply(x, gain, bias, skip, stats, y, n, channels, inner, relu);                                                                                                             \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_backward_sums_##NAME(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, double *partial, u64 outer,       \
                                                       u64 channels, u64 inner, u64 parts, u64 mask) {                                                                          \
    backward_sums(x, y, g, gain, bias, stats, partial, outer, channels, inner, parts, mask);                                                                                    \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_backward_total_##NAME(const double *partial, double *total, T *dgain, T *dbias, u64 count, u64 channels, u64 parts) {                         \
    backward_total(partial, total, dgain, dbias, count, channels, parts);                                                                                                       \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_running_##NAME(const double *stats, T *mean, T *var, u64 *seen, u64 channels, u64 unbiased, u64 momentum) {                                   \
    moved(stats, mean, var, seen, channels, number(unbiased), number(momentum));                                                                                              \
  }                                                                                                                                                                             \
  extern "C" __global__ void norm_backward_apply_##NAME(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, const double *total, T *dx,      \
                                                        T *dskip, u64 n, u64 channels, u64 inner, u64 mask, u64 batch) {                                                        \
    backward_apply(x, y, g, gain, bias, stats, total, dx, dskip, n, channels, inner, mask, batch);                                                                              \
  }
KERNELS(float, f32)
KERNELS(double, f64)
