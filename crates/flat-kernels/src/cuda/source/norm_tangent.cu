// The tangent of normalisation along directions of its operands, and the tangent's gradients for x, the gain, x_dot and the
// residual's direction; src/cpu/norm.rs derives them. Blocks and runs are those of norm.cu, statistics are the layer's.

// Sums over a channel.
template <int N> struct Totals {
  double of[N];
};

template <int N> static __device__ inline Totals<N> block_totals(Totals<N> s, double *lanes) {
  for (int i = 0; i < N; i++) s.of[i] = block_sum(s.of[i], lanes);
  return s;
}

template <int N> static __device__ inline void leave(Totals<N> s, double *partial, u64 channels) {
  if (threadIdx.x > 0) return;
  for (int i = 0; i < N; i++) partial[(N * blockIdx.y + i) * channels + blockIdx.x] = s.of[i];
}

// The sums of all runs, as `leave` has left them.
template <int N> static __device__ inline Totals<N> total_of(const double *partial, u64 channels, double *lanes) {
  Totals<N> s = {};
  for (u64 p = threadIdx.x; p < gridDim.y; p += BLOCK)
    for (int i = 0; i < N; i++) s.of[i] += partial[(N * p + i) * channels + blockIdx.x];
  return block_totals(s, lanes);
}

// A layer that has run, and the directions of x and of the gain. y is the output where relu's place is read from it.
template <class T> struct Layer {
  const T *x, *y, *gain, *bias;
  const double *stats;
  const T *x_dot, *gain_dot;
  u64 count, channels, inner, mask, batch;

  __device__ double mean() const { return stats[blockIdx.x]; }
  __device__ double r() const { return stats[2 * channels + blockIdx.x]; }
  __device__ double full_gain() const { return gain ? double(gain[blockIdx.x]) : 1.0; }
  __device__ Channel<T> channel() const { return channel_of(mean(), r(), gain, bias, blockIdx.x); }
  __device__ u64 at(u64 i) const { return place(i, blockIdx.x, channels, inner); }
};

// Of x_dot, and of its product with the centred numbers. Constants for statistics take nothing away.
template <class T> static __device__ Totals<2> tangent_sums(Layer<T> of, double *lanes) {
  Totals<2> s = {};
  if (!of.batch) return s;
  double mean = of.mean();
  Run run = run_of(of.count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = of.at(i);
    double d = double(of.x_dot[e]);
    s.of[0] += d;
    s.of[1] += d * (double(of.x[e]) - mean);
  }
  return block_totals(s, lanes);
}

// `along` gets mean(x_dot) and mean(x_dot n) of the channel, a row each.
template <class T> static __device__ void tangent(Totals<2> s, Layer<T> of, const T *bias_dot, const T *skip_dot, double *along, T *out) {
  u32 c = blockIdx.x;
  double r = of.r(), mean_dot = s.of[0] / of.count, normal = r * s.of[1] / of.count;
  if (threadIdx.x == 0 && blockIdx.y == 0) {
    along[c] = mean_dot;
    along[of.channels + c] = normal;
  }
  Channel<T> by = of.channel();
  T shift = T(mean_dot), factor = by.r * by.gain, slope = T(r * (double(of.gain_dot[c]) - of.full_gain() * r * normal));
  Run run = run_of(of.count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = of.at(i);
    T t = (of.x_dot[e] - shift) * factor + (of.x[e] - by.mean) * slope + bias_dot[c];
    if (skip_dot) t += skip_dot[e];
    out[e] = masked(t, e, of.x, of.y, by, of.mask);
  }
}

// Of the masked gradient h, of its products with the centred numbers and with x_dot.
template <class T> static __device__ Totals<3> gradient_sums(Layer<T> of, const T *g, double *lanes) {
  double mean = of.mean();
  Channel<T> by = of.channel();
  Totals<3> s = {};
  Run run = run_of(of.count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = of.at(i);
    double h = double(masked(g[e], e, of.x, of.y, by, of.mask));
    s.of[0] += h;
    s.of[1] += h * (double(of.x[e]) - mean);
    s.of[2] += h * double(of.x_dot[e]);
  }
  return block_totals(s, lanes);
}

template <class T> static __device__ void gradient(Totals<3> s, Layer<T> of, const T *g, const double *along, T *dx, T *dgain, T *dx_dot, T *dskip_dot) {
  u32 c = blockIdx.x;
  double r = of.r(), gain = of.full_gain(), mean_dot = along[c], normal = along[of.channels + c];
  // means of h, h n, h x_dot
  double mh = 0, hn = 0, hd = 0;
  if (of.batch) mh = s.of[0] / of.count, hn = r * s.of[1] / of.count, hd = s.of[2] / of.count;
  if (threadIdx.x == 0 && blockIdx.y == 0) dgain[c] = T(r * (s.of[2] - mean_dot * s.of[0] - normal * r * s.of[1]));
  // the gradient for n is p h - q x_dot
  double p = double(of.gain_dot[c]) - r * gain * normal, q = r * gain * hn;
  double by_r = r * gain * (hd - mean_dot * mh - normal * hn);
  T constant = T(-r * (p * mh - q * mean_dot)), slope = T(-r * r * (p * hn - q * normal + by_r));
  T for_h = T(r * p), for_dot = T(r * q), shift = T(mh), dot_slope = T(r * hn);
  Channel<T> by = of.channel();
  T factor = by.r * by.gain;
  Run run = run_of(of.count);
  for (u64 i = run.begin + threadIdx.x; i < run.end; i += BLOCK) {
    u64 e = of.at(i);
    T h = masked(g[e], e, of.x, of.y, by, of.mask), centred = of.x[e] - by.mean;
    dx[e] = h * for_h - of.x_dot[e] * for_dot + constant + centred * slope;
    dx_dot[e] = (h - shift - centred * dot_slope) * factor;
    if (dskip_dot) dskip_dot[e] = h;
  }
}

// flags: relu's mask, and 4 where mean and r depend on x
#define LAYER(T) const T *x, const T *y, const T *gain, const T *bias, const double *stats, const T *x_dot, const T *gain_dot
#define SIZES u64 count, u64 channels, u64 inner, u64 flags
#define OF(T) (Layer<T>{x, y, gain, bias, stats, x_dot, gain_dot, count, channels, inner, flags & 3, flags & 4})
#define KERNELS(T, NAME)                                                                                                                                        \
  extern "C" __global__ void norm_tangent_whole_##NAME(LAYER(T), const T *bias_dot, const T *skip_dot, double *along, T *out, SIZES) {                          \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    tangent(tangent_sums(OF(T), lanes), OF(T), bias_dot, skip_dot, along, out);                                                                                 \
  }                                                                                                                                                             \
  extern "C" __global__ void norm_tangent_sums_##NAME(LAYER(T), double *partial, SIZES) {                                                                       \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    leave(tangent_sums(OF(T), lanes), partial, channels);                                                                                                       \
  }                                                                                                                                                             \
  extern "C" __global__ void norm_tangent_runs_##NAME(LAYER(T), const double *partial, const T *bias_dot, const T *skip_dot, double *along, T *out, SIZES) {    \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    tangent(total_of<2>(partial, channels, lanes), OF(T), bias_dot, skip_dot, along, out);                                                                      \
  }                                                                                                                                                             \
  extern "C" __global__ void norm_tangent_gradient_whole_##NAME(LAYER(T), const T *g, const double *along, T *dx, T *dgain, T *dx_dot, T *dskip_dot, SIZES) {   \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    gradient(gradient_sums(OF(T), g, lanes), OF(T), g, along, dx, dgain, dx_dot, dskip_dot);                                                                    \
  }                                                                                                                                                             \
  extern "C" __global__ void norm_tangent_gradient_sums_##NAME(LAYER(T), const T *g, double *partial, SIZES) {                                                  \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    leave(gradient_sums(OF(T), g, lanes), partial, channels);                                                                                                   \
  }                                                                                                                                                             \
  extern "C" __global__ void norm_tangent_gradient_runs_##NAME(LAYER(T), const double *partial, const T *g, const double *along, T *dx, T *dgain, T *dx_dot,    \
                                                               T *dskip_dot, SIZES) {                                                                           \
    __shared__ double lanes[BLOCK];                                                                                                                             \
    gradient(total_of<3>(partial, channels, lanes), OF(T), g, along, dx, dgain, dx_dot, dskip_dot);                                                             \
  }
KERNELS(float, f32)
KERNELS(double, f64)
