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

// Copies tensors of any type, in words of 32 bits, into one vector.
extern "C" __global__ void save_words(const u64 *table, u64 entries, u32 *out, u64 n) {
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  u64 p = entry_of(table, entries, begin);
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) {
    while (e >= table[p + 1]) p++;
    out[e] = ((const u32 *)table[entries + 1 + p])[e - table[p]];
  }
}

// Puts them back where the flag is zero.
extern "C" __global__ void restore_words(const u64 *table, u64 entries, const u32 *saved, const unsigned char *keep, u64 n) {
  if (keep[0]) return;
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  u64 p = entry_of(table, entries, begin);
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) {
    while (e >= table[p + 1]) p++;
    ((u32 *)table[entries + 1 + p])[e - table[p]] = saved[e];
  }
}

#define KERNELS(T, NAME)                                                                                                                                 \
  extern "C" __global__ void dot_##NAME(const T *x, const T *y, double *partial, u64 n) { dot(x, y, partial, n); }                                       \
  extern "C" __global__ void dot_entries_##NAME(const T *x, const T *y, const u64 *offsets, double *out) { dot_entries(x, y, offsets, out); }            \
  extern "C" __global__ void collect_##NAME(const u64 *table, u64 entries, T *out, double *partial, u64 n) { collect(table, entries, out, partial, n); }
KERNELS(float, f32)
KERNELS(double, f64)
