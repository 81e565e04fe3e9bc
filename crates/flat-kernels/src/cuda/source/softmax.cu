// Softmax and its cross entropy with rows of targets, a block a row of k logits. Inside, everything is double: rows are short.

struct Best {
  double value;
  u64 at;
};

// The largest logit and the first place that holds it; no NaN is larger than anything.
template <class T> static __device__ Best largest(const T *z, u64 k, double *values, u64 *places) {
  double value = -1.0 / 0.0;
  u64 at = k;
  for (u64 j = threadIdx.x; j < k; j += BLOCK)
    if (double(z[j]) > value) {
      value = double(z[j]);
      at = j;
    }
  values[threadIdx.x] = value;
  places[threadIdx.x] = at;
  __syncthreads();
  for (u32 half = BLOCK / 2; half > 0; half /= 2) {
    u32 i = threadIdx.x, j = i + half;
    if (i < half && (values[j] > values[i] || (values[j] == values[i] && places[j] < places[i]))) {
      values[i] = values[j];
      places[i] = places[j];
    }
    __syncthreads();
  }
  Best best = {values[0], places[0]};
  __syncthreads();
  return best;
}

template <class T> static __device__ void softmax(const T *z, T *p, u64 k) {
  __shared__ double lanes[BLOCK];
  __shared__ u64 places[BLOCK];
  z += blockIdx.x * k;
  p += blockIdx.x * k;
  double max = largest(z, k, lanes, places).value, sum = 0;
  for (u64 j = threadIdx.x; j < k; j += BLOCK) sum += exp(double(z[j]) - max);
  sum = block_sum(sum, lanes);
  for (u64 j = threadIdx.x; j < k; j += BLOCK) p[j] = T(exp(double(z[j]) - max) / sum);
}

// log sum exp z - <t, z> for a t that sums to one; the largest logit is taken out of the sum, so that small losses keep their
// digits.
template <class T> static __device__ void cross_entropy(const T *z, const T *t, T *loss, u64 k) {
  __shared__ double lanes[BLOCK];
  __shared__ u64 places[BLOCK];
  z += blockIdx.x * k;
  t += blockIdx.x * k;
  Best best = largest(z, k, lanes, places);
  double rest = 0, linear = 0;
  for (u64 j = threadIdx.x; j < k; j += BLOCK) {
    double d = double(z[j]) - best.value;
    linear += double(t[j]) * d;
    if (j != best.at) rest += exp(d);
  }
  rest = block_sum(rest, lanes);
  linear = block_sum(linear, lanes);
  if (threadIdx.x == 0) loss[blockIdx.x] = T(log1p(rest) - linear);
}

// The gradient (softmax(z) - t) g of cross_entropy.
template <class T> static __device__ void cross_entropy_gradient(const T *z, const T *t, const T *g, T *dz, u64 k) {
  __shared__ double lanes[BLOCK];
  __shared__ u64 places[BLOCK];
  u64 row = blockIdx.x * k;
  z += row;
  t += row;
  dz += row;
  double max = largest(z, k, lanes, places).value, sum = 0, by = double(g[blockIdx.x]);
  for (u64 j = threadIdx.x; j < k; j += BLOCK) sum += exp(double(z[j]) - max);
  sum = block_sum(sum, lanes);
  for (u64 j = threadIdx.x; j < k; j += BLOCK) dz[j] = T((exp(double(z[j]) - max) / sum - double(t[j])) * by);
}

// What one element adds to a loss and what its gradient is. kind: 0 cross entropy, 1 squared error. The target is `on` at the
// label and `off` elsewhere, rounded to the element type as the tensors of the CPU are.
template <class T> static __device__ inline double target(u64 j, u32 label, double on, double off) { return double(T(j == label ? on : off)); }

// A thread a row: the block's sum of losses over `divisor`, and its number of rows whose largest logit is the label's, to
// `out`; the gradient of the mean loss of all n rows to dz.
template <class T>
static __device__ void loss_rows(const T *z, const u32 *labels, T *dz, double *out, u64 n, u64 k, double on, double off, u64 kind, double divisor) {
  __shared__ double lanes[BLOCK];
  double losses = 0, right = 0;
  u32 row = first();
  if (row < n) {
    z += row * k;
    dz += row * k;
    u32 label = labels[row];
    double max = -1.0 / 0.0, loss = 0;
    u64 at = k;
    for (u64 j = 0; j < k; j++)
      if (double(z[j]) > max) max = double(z[j]), at = j;
    if (kind == 0) {
      double rest = 0, linear = 0;
      for (u64 j = 0; j < k; j++) {
        double d = double(z[j]) - max;
        linear += target<T>(j, label, on, off) * d;
        if (j != at) rest += exp(d);
      }
      loss = log1p(rest) - linear;
      for (u64 j = 0; j < k; j++) dz[j] = T((exp(double(z[j]) - max) / (1 + rest) - target<T>(j, label, on, off)) / double(n));
    } else {
      for (u64 j = 0; j < k; j++) {
        double d = double(z[j]) - target<T>(j, label, on, off);
        loss += d * d;
        dz[j] = T(2 * d / (double(k) * double(n)));
      }
      loss /= double(k);
    }
    losses = loss;
    right = at == label;
  }
  losses = block_sum(losses, lanes);
  right = block_sum(right, lanes);
  if (threadIdx.x == 0) {
    out[2 * blockIdx.x] = losses / divisor;
    out[2 * blockIdx.x + 1] = right;
  }
}

// The same by a block a row, for many logits.
template <class T>
static __device__ void loss_row(const T *z, const u32 *labels, T *dz, double *out, u64 n, u64 k, double on, double off, u64 kind) {
  __shared__ double lanes[BLOCK];
  __shared__ u64 places[BLOCK];
  z += blockIdx.x * k;
  dz += blockIdx.x * k;
  u32 label = labels[blockIdx.x];
  Best best = largest(z, k, lanes, places);
  double rest = 0, linear = 0;
  for (u64 j = threadIdx.x; j < k; j += BLOCK) {
    double t = target<T>(j, label, on, off), d = double(z[j]) - (kind == 0 ? best.value : t);
    if (kind == 0) {
      linear += t * d;
      if (j != best.at) rest += exp(d);
    } else
      linear += d * d;
  }
  rest = block_sum(rest, lanes);
  linear = block_sum(linear, lanes);
  for (u64 j = threadIdx.x; j < k; j += BLOCK) {
    double t = target<T>(j, label, on, off);
    dz[j] = kind == 0 ? T((exp(double(z[j]) - best.value) / (1 + rest) - t) / double(n)) : T(2 * (double(z[j]) - t) / (double(k) * double(n)));
  }
  if (threadIdx.x == 0) {
    out[2 * blockIdx.x] = kind == 0 ? log1p(rest) - linear : linear / double(k);
    out[2 * blockIdx.x + 1] = best.at == label;
  }
}

// One block: the mean of n losses and the number of right answers, from the sums of so many parts.
extern "C" __global__ void loss_total(const double *partial, double *out, u64 parts, u64 n) {
  __shared__ double lanes[BLOCK];
  double losses = 0, right = 0;
  for (u64 p = threadIdx.x; p < parts; p += BLOCK) {
    losses += partial[2 * p];
    right += partial[2 * p + 1];
  }
  losses = block_sum(losses, lanes);
  right = block_sum(right, lanes);
  if (threadIdx.x == 0) {
    out[0] = losses / double(n);
    out[1] = right;
  }
}

#define KERNELS(T, NAME)                                                                                                                                \
  extern "C" __global__ void softmax_##NAME(const T *z, T *p, u64 k) { softmax(z, p, k); }                                                              \
  extern "C" __global__ void cross_entropy_##NAME(const T *z, const T *t, T *loss, u64 k) { cross_entropy(z, t, loss, k); }                             \
  extern "C" __global__ void cross_entropy_gradient_##NAME(const T *z, const T *t, const T *g, T *dz, u64 k) { cross_entropy_gradient(z, t, g, dz, k); } \
  extern "C" __global__ void loss_rows_##NAME(const T *z, const u32 *labels, T *dz, double *out, u64 n, u64 k, u64 on, u64 off, u64 kind, u64 divisor) { \
    loss_rows(z, labels, dz, out, n, k, number(on), number(off), kind, double(divisor));                                                                \
  }                                                                                                                                                     \
  extern "C" __global__ void loss_row_##NAME(const T *z, const u32 *labels, T *dz, double *out, u64 n, u64 k, u64 on, u64 off, u64 kind) {              \
    loss_row(z, labels, dz, out, n, k, number(on), number(off), kind);                                                                                  \
  }
KERNELS(float, f32)
KERNELS(double, f64)
