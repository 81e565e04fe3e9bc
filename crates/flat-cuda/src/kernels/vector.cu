// Sums over vectors of all parameters, and the passes that gather a gradient and leave a point.

template <class T> static __device__ void dot(const T *x, const T *y, double *partial, u64 n) {
  __shared__ double lanes[BLOCK];
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  double sum = 0;
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) sum += double(x[e]) * double(y[e]);
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block: the sum of `n` partial sums.
extern "C" __global__ void fold(const double *partial, double *out, u64 n) {
  __shared__ double lanes[BLOCK];
  double sum = 0;
  for (u64 e = threadIdx.x; e < n; e += BLOCK) sum += partial[e];
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) out[0] = sum;
}

// A block a parameter: <x, y> over it.
template <class T> static __device__ void dot_entries(const T *x, const T *y, const u64 *offsets, double *out) {
  __shared__ double lanes[BLOCK];
  u64 end = offsets[blockIdx.x + 1];
  double sum = 0;
  for (u64 e = offsets[blockIdx.x] + threadIdx.x; e < end; e += BLOCK) sum += double(x[e]) * double(y[e]);
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// Copies the parameters' tensors into one flat vector, and sums the squares on the way.
template <class T> static __device__ void collect(const u64 *table, u64 entries, T *out, double *partial, u64 n) {
  __shared__ double lanes[BLOCK];
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  double sum = 0;
  u64 p = entry_of(table, entries, begin);
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) {
    while (e >= table[p + 1]) p++;
    T v = ((const T *)table[entries + 1 + p])[e - table[p]];
    out[e] = v;
    sum += double(v) * double(v);
  }
  sum = block_sum(sum, lanes);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// kept <- w; w <- w + rho / sqrt(square) dir, or dir mask where there is one: the step to a given distance, whose factor the
// host never sees. A square that is zero, below the smallest normal number or no number moves nothing.
template <class T>
static __device__ void leave(const u64 *table, u64 entries, const T *dir, const T *mask, T *kept, const double *square, u64 n, double rho, double least) {
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  double norm = sqrt(square[0]);
  T by = T(norm >= least ? rho / norm : 0.0);
  u64 p = entry_of(table, entries, begin);
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) {
    while (e >= table[p + 1]) p++;
    T *w = (T *)table[entries + 1 + p] + (e - table[p]);
    T old = *w, step = mask ? dir[e] * mask[e] * by : dir[e] * by;
    kept[e] = old;
    *w = norm >= least ? old + step : old;
  }
}

#define KERNELS(T, NAME)                                                                                                                                 \
  extern "C" __global__ void dot_##NAME(const T *x, const T *y, double *partial, u64 n) { dot(x, y, partial, n); }                                       \
  extern "C" __global__ void dot_entries_##NAME(const T *x, const T *y, const u64 *offsets, double *out) { dot_entries(x, y, offsets, out); }            \
  extern "C" __global__ void collect_##NAME(const u64 *table, u64 entries, T *out, double *partial, u64 n) { collect(table, entries, out, partial, n); } \
  extern "C" __global__ void leave_##NAME(const u64 *table, u64 entries, const T *dir, const T *mask, T *kept, const double *square, u64 n, u64 rho,     \
                                          u64 least) {                                                                                                   \
    leave(table, entries, dir, mask, kept, square, n, number(rho), number(least));                                                                       \
  }
KERNELS(float, f32)
KERNELS(double, f64)
