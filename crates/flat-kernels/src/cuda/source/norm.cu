// Normalisation by channel of (outer, channels, inner): y = relu(gain (x - mean) r + bias + skip), and its gradient.
//
// `stats` holds mean, variance and r = 1 / sqrt(variance + eps) of all channels, one row each, in double. A channel that is
// short belongs to one block, which sums it and then goes over it again. A longer one is summed in gridDim.y runs, whose sums
// are `partial[run][quantity][channel]`; the blocks of the next launch each add those up and take one run.

// Two sums over a run of a channel, in every thread.
struct Sums {
  double first, second;
};

static __device__ inline Sums block_sums(Sums s, double *lanes) {
  s.first = block_sum(s.first, lanes);
  s.second = block_sum(s.second, lanes);
  return s;
}

static __device__ inline void leave(Sums s, double *partial, u64 channels) {
  if (threadIdx.x > 0) return;
  partial[2 * blockIdx.y * channels + blockIdx.x] = s.first;
  partial[(2 * blockIdx.y + 1) * channels + blockIdx.x] = s.second;
}

// The sums of all runs, as `leave` has left them.
static __device__ inline Sums total_of(const double *partial, u64 channels, double *lanes) {
  Sums s = {0, 0};
  for (u64 p = threadIdx.x; p < gridDim.y; p += BLOCK) {
    s.first += partial[2 * p * channels + blockIdx.x];
    s.second += partial[(2 * p + 1) * channels + blockIdx.x];
  }
  return block_sums(s, lanes);
}

// Of deviations from the channel's first element and of their squares, so that these are not lost beside a large mean.
template <class T> static __device__ Sums sums(const T *x, u64 count, u64 channels, u64 inner, double *lanes) {
  u32 c = blockIdx.x;
  double shift = double(x[c * inner]);
  Sums s = {0, 0};
  Run run = run_of(count);
  for (u64 e = run.begin + threadIdx.x; e < run.end; e += BLOCK) {
    double d = double(x[place(e, c, channels, inner)]) - shift;
    s.first += d;
    s.second += d * d;
  }
  return block_sums(s, lanes);
}

// From the sums of the whole channel: its statistics, written by the channel's first block, and the block's run of the output.
template <class T>
static __device__ void normalise(Sums s, const T *x, const T *gain, const T *bias, const T *skip, double *stats, T *y, u64 count, u64 channels, u64 inner, double eps, u64 relu) {
  u32 c = blockIdx.x;
  double off = s.first / count, var = s.second / count - off * off;
  // a NaN is no less than zero, and stays
  var = var < 0 ? 0 : var;
  double mean = double(x[c * inner]) + off, r = 1 / sqrt(var + eps);
  if (threadIdx.x == 0 && blockIdx.y == 0) {
    stats[c] = mean;
    stats[channels + c] = var;
    stats[2 * channels + c] = r;
  }
  Channel<T> of = channel_of(mean, r, gain, bias, c);
  Run run = run_of(count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = place(i, c, channels, inner);
    T v = affine(x[e], of);
    if (skip) v += skip[e];
    y[e] = relu ? clip(v) : v;
  }
}

// By statistics that are constants.
template <class T>
static __device__ void apply(const T *x, const T *gain, const T *bias, const T *skip, const double *stats, T *y, u64 n, u64 channels, u64 inner, u64 relu) {
  for (u32 e = first(); e < n; e += stride()) {
    u32 c = e / (u32)inner % (u32)channels;
    T v = affine(x[e], channel_of(stats[c], stats[2 * channels + c], gain, bias, c));
    if (skip) v += skip[e];
    y[e] = relu ? clip(v) : v;
  }
}

// Of the masked gradient, and of its product with the normalised numbers.
template <class T>
static __device__ Sums backward_sums(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, u64 count, u64 channels, u64 inner, u64 mask, double *lanes) {
  u32 c = blockIdx.x;
  double mean = stats[c], r = stats[2 * channels + c];
  Channel<T> of = channel_of(mean, r, gain, bias, c);
  Sums s = {0, 0};
  Run run = run_of(count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = place(i, c, channels, inner);
    double h = double(masked(g[e], e, x, y, of, mask));
    s.first += h;
    s.second += h * ((double(x[e]) - mean) * r);
  }
  return block_sums(s, lanes);
}

// From the sums of the whole channel: gradients of bias and gain, written by the channel's first block where they have an
// address, and the block's run of those of x and of the residual, where it has one. batch: whether mean and r depend on x.
template <class T>
static __device__ void gradient(Sums s, const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, T *dgain, T *dbias, T *dx, T *dskip, u64 count, u64 channels,
                                u64 inner, u64 mask, u64 batch) {
  u32 c = blockIdx.x;
  if (threadIdx.x == 0 && blockIdx.y == 0) {
    if (dbias) dbias[c] = T(s.first);
    if (dgain) dgain[c] = T(s.second);
  }
  Channel<T> of = channel_of(stats[c], stats[2 * channels + c], gain, bias, c);
  T sum = T(s.first / double(count)), along = T(s.second / double(count)), slope = of.r * of.gain;
  Run run = run_of(count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = place(i, c, channels, inner);
    T h = masked(g[e], e, x, y, of, mask);
    if (dskip) dskip[e] = h;
    T d = h;
    if (batch) d = h - sum - (x[e] - of.mean) * of.r * along;
    dx[e] = d * slope;
  }
}

// A block a layer: running statistics move towards the batch's by `momentum`, and one more batch has been seen. The table has
// six numbers a layer: the addresses of stats, mean, variance and count, the channels, and the factor that makes the batch's
// variance an unbiased one.
template <class T> static __device__ void moved(const u64 *table, double momentum) {
  const u64 *of = table + 6 * blockIdx.x;
  const double *stats = (const double *)of[0];
  T *mean = (T *)of[1], *var = (T *)of[2];
  u64 *seen = (u64 *)of[3], channels = of[4];
  double unbiased = number(of[5]);
  if (threadIdx.x == 0) seen[0] += 1;
  for (u64 c = threadIdx.x; c < channels; c += BLOCK) {
    mean[c] = T((1 - momentum) * double(mean[c]) + momentum * stats[c]);
    var[c] = T((1 - momentum) * double(var[c]) + momentum * (stats[channels + c] * unbiased));
  }
}

// flags of the backward pass: the mask, and 4 where mean and r depend on x
#define KERNELS(T, NAME)                                                                                                                                                       \
  extern "C" __global__ void norm_whole_##NAME(const T *x, const T *gain, const T *bias, const T *skip, double *stats, T *y, u64 count, u64 channels, u64 inner, u64 eps,      \
                                               u64 relu) {                                                                                                                     \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    normalise(sums(x, count, channels, inner, lanes), x, gain, bias, skip, stats, y, count, channels, inner, number(eps), relu);                                               \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_sums_##NAME(const T *x, double *partial, u64 count, u64 channels, u64 inner) {                                                               \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    leave(sums(x, count, channels, inner, lanes), partial, channels);                                                                                                          \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_runs_##NAME(const double *partial, const T *x, const T *gain, const T *bias, const T *skip, double *stats, T *y, u64 count, u64 channels,    \
                                              u64 inner, u64 eps, u64 relu) {                                                                                                  \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    normalise(total_of(partial, channels, lanes), x, gain, bias, skip, stats, y, count, channels, inner, number(eps), relu);                                                   \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_apply_##NAME(const T *x, const T *gain, const T *bias, const T *skip, const double *stats, T *y, u64 n, u64 channels, u64 inner, u64 relu) { \
    apply(x, gain, bias, skip, stats, y, n, channels, inner, relu);                                                                                                            \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_backward_whole_##NAME(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, T *dgain, T *dbias, T *dx,      \
                                                        T *dskip, u64 count, u64 channels, u64 inner, u64 flags) {                                                             \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    gradient(backward_sums(x, y, g, gain, bias, stats, count, channels, inner, flags & 3, lanes), x, y, g, gain, bias, stats, dgain, dbias, dx, dskip, count, channels, inner, \
             flags & 3, flags & 4);                                                                                                                                            \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_backward_sums_##NAME(const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats, double *partial, u64 count,      \
                                                       u64 channels, u64 inner, u64 flags) {                                                                                   \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    leave(backward_sums(x, y, g, gain, bias, stats, count, channels, inner, flags & 3, lanes), partial, channels);                                                             \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_backward_runs_##NAME(const double *partial, const T *x, const T *y, const T *g, const T *gain, const T *bias, const double *stats,           \
                                                       T *dgain, T *dbias, T *dx, T *dskip, u64 count, u64 channels, u64 inner, u64 flags) {                                   \
    __shared__ double lanes[BLOCK];                                                                                                                                            \
    gradient(total_of(partial, channels, lanes), x, y, g, gain, bias, stats, dgain, dbias, dx, dskip, count, channels, inner, flags & 3, flags & 4);                           \
  }                                                                                                                                                                            \
  extern "C" __global__ void norm_running_##NAME(const u64 *table, u64 momentum) { moved<T>(table, number(momentum)); }
KERNELS(float, f32)
KERNELS(double, f64)
