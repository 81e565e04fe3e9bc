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

#define KERNELS(T, NAME)                                                                                                                                \
  extern "C" __global__ void softmax_##NAME(const T *z, T *p, u64 k) { softmax(z, p, k); }                                                              \
  extern "C" __global__ void cross_entropy_##NAME(const T *z, const T *t, T *loss, u64 k) { cross_entropy(z, t, loss, k); }                             \
  extern "C" __global__ void cross_entropy_gradient_##NAME(const T *z, const T *t, const T *g, T *dz, u64 k) { cross_entropy_gradient(z, t, g, dz, k); }
KERNELS(float, f32)
KERNELS(double, f64)
