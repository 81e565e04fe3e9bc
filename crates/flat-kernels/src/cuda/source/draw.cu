// The random numbers of the host's streams, to the bit. A block computes a sub-stream of DRAW numbers from its key alone:
// ChaCha with 8 rounds (D. J. Bernstein, "ChaCha, a variant of Salsa20", 2008), and for normal numbers what
// src/cpu/normal.rs does with it, by the same operations in the same order.

#define DRAW 16384
// Generators side by side.
#define LANES 8

struct Key {
  u64 words[4];
};

static __device__ inline u32 rotated(u32 x, int by) { return x << by | x >> (32 - by); }

static __device__ inline void quarter(u32 &a, u32 &b, u32 &c, u32 &d) {
  a += b, d = rotated(d ^ a, 16), c += d, b = rotated(b ^ c, 12);
  a += b, d = rotated(d ^ a, 8), c += d, b = rotated(b ^ c, 7);
}

// The 16 words of one block of a stream.
static __device__ void chacha(const Key &key, u64 stream, u64 block, u32 *out) {
  u32 start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int i = 0; i < 4; i++) {
    start[4 + 2 * i] = (u32)key.words[i];
    start[5 + 2 * i] = (u32)(key.words[i] >> 32);
  }
  start[12] = (u32)block, start[13] = (u32)(block >> 32);
  start[14] = (u32)stream, start[15] = (u32)(stream >> 32);
  u32 x[16];
  for (int i = 0; i < 16; i++) x[i] = start[i];
  for (int pair = 0; pair < 4; pair++) {
    for (int i = 0; i < 4; i++) quarter(x[i], x[4 + i], x[8 + i], x[12 + i]);
    for (int i = 0; i < 4; i++) quarter(x[i], x[4 + (i + 1) % 4], x[8 + (i + 2) % 4], x[12 + (i + 3) % 4]);
  }
  for (int i = 0; i < 16; i++) out[i] = x[i] + start[i];
}

static __device__ inline u64 joined(u32 low, u32 high) { return low | (u64)high << 32; }

static __device__ inline u64 rotated(u64 x, int by) { return x << by | x >> (64 - by); }

// The next number of xoshiro256++.
static __device__ inline u64 next(u64 &a, u64 &b, u64 &c, u64 &d) {
  u64 out = rotated(a + d, 23) + a, shifted = b << 17;
  c ^= a, d ^= b, b ^= c, a ^= d, c ^= shifted;
  d = rotated(d, 45);
  return out;
}

static __device__ inline double one_to_two(u64 bits) { return number(bits | 0x3ffULL << 52); }

// The logarithm of a number in [2^-1000, 2].
static __device__ inline double logarithm(double x) {
  const u64 BIAS = 1024ULL << 52, HALVED_ROOT = 0x3fe6a09e667f3bcdULL; // the bits of sqrt(1/2)
  u64 bits = (u64)__double_as_longlong(x), exponent = (bits + (BIAS - HALVED_ROOT)) >> 52;
  double k = number(exponent | 0x433ULL << 52) - (4503599627370496.0 + 1024.0);
  double m = number(bits - (exponent << 52) + BIAS);
  double s = (m - 1.0) / (m + 1.0), square = s * s;
  double odd = fma(2.0 / 11.0, square, 2.0 / 9.0);
  odd = fma(odd, square, 2.0 / 7.0);
  odd = fma(odd, square, 2.0 / 5.0);
  odd = fma(odd, square, 2.0 / 3.0);
  odd = fma(odd, square, 2.0);
  return fma(k, 0.693147180559945309417232121458, s * odd);
}

// A sine or cosine from its series in x^2, highest power first.
static __device__ inline double series(double square, double a, double b, double c, double d, double e, double f) {
  return fma(fma(fma(fma(fma(a, square, b), square, c), square, d), square, e), square, f);
}

// Box-Muller's pair of normal numbers from two of the generator.
static __device__ inline void normal_pair(u64 for_radius, u64 for_angle, double &first, double &second) {
  double radius = sqrt(-2.0 * logarithm(2.0 - one_to_two(for_radius >> 12)));
  double x = (one_to_two(for_angle << 2 >> 13 << 1) - 1.5) * 1.57079632679489661923132169163975144, square = x * x;
  double sine = x * series(square, -1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0);
  double cosine = series(square, -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -1.0 / 2.0, 1.0);
  double sign = number((u64)__double_as_longlong(radius) ^ (for_angle & 1ULL << 63));
  bool across = (for_angle & 1ULL << 62) == 0;
  first = sign * (across ? sine : cosine);
  second = sign * (across ? cosine : sine);
}

// Normal numbers. Eight threads run the generators, all threads make pairs of what they gave.
template <class T> static __device__ void draw_normals(const Key &key, T *out, u64 n) {
  __shared__ u64 state[4][LANES], radii[BLOCK], angles[BLOCK];
  u64 begin = (u64)blockIdx.x * DRAW, end = begin + DRAW < n ? begin + DRAW : n;
  u32 me = threadIdx.x;
  if (me < 4) {
    u32 words[16];
    chacha(key, 1ULL << 63 | blockIdx.x, me, words);
    for (u32 lane = 0; lane < LANES; lane++) state[me][lane] = joined(words[2 * lane], words[2 * lane + 1]);
  }
  __syncthreads();
  u64 a = 0, b = 0, c = 0, d = 0;
  if (me < LANES) a = state[0][me], b = state[1][me], c = state[2][me], d = state[3][me];
  for (u64 at = begin; at < end; at += 2 * BLOCK) {
    for (u32 i = me; me < LANES && i < BLOCK; i += LANES) {
      radii[i] = next(a, b, c, d);
      angles[i] = next(a, b, c, d);
    }
    __syncthreads();
    double first, second;
    normal_pair(radii[me], angles[me], first, second);
    u64 e = at + me / LANES * (2 * LANES) + me % LANES;
    if (e < end) out[e] = T(first);
    if (e + LANES < end) out[e + LANES] = T(second);
    __syncthreads();
  }
}

// A number of each `each` words of the sub-stream.
template <u32 each, class T, class F> static __device__ void draw_words(const Key &key, T *out, u64 n, F of) {
  __shared__ u32 words[16 * BLOCK];
  u64 begin = (u64)blockIdx.x * DRAW, end = begin + DRAW < n ? begin + DRAW : n;
  const u32 most = 16 * BLOCK / each;
  for (u64 at = begin; at < end; at += most) {
    chacha(key, (u64)blockIdx.x + 1, (at - begin) * each / 16 + threadIdx.x, words + 16 * threadIdx.x);
    __syncthreads();
    for (u32 i = threadIdx.x; i < most && at + i < end; i += BLOCK) out[at + i] = of(words + i * each);
    __syncthreads();
  }
}

// Signs, by the highest bit of a word.
template <class T> static __device__ void draw_signs(const Key &key, T *out, u64 n) {
  draw_words<1>(key, out, n, [](const u32 *words) { return (int)words[0] < 0 ? T(1) : T(-1); });
}

// 1 with probability `p`, otherwise 0, by 53 bits of two words.
template <class T> static __device__ void draw_masks(const Key &key, T *out, u64 n, double p) {
  draw_words<2>(key, out, n, [p](const u32 *words) {
    double uniform = (1.0 / 9007199254740992.0) * double(joined(words[0], words[1]) >> 11);
    return uniform < p ? T(1) : T(0);
  });
}

#define KERNELS(T, NAME)                                                                                                                        \
  extern "C" __global__ void draw_normals_##NAME(u64 a, u64 b, u64 c, u64 d, T *out, u64 n) { draw_normals(Key{{a, b, c, d}}, out, n); }       \
  extern "C" __global__ void draw_signs_##NAME(u64 a, u64 b, u64 c, u64 d, T *out, u64 n) { draw_signs(Key{{a, b, c, d}}, out, n); }           \
  extern "C" __global__ void draw_masks_##NAME(u64 a, u64 b, u64 c, u64 d, T *out, u64 n, u64 p) { draw_masks(Key{{a, b, c, d}}, out, n, number(p)); }
KERNELS(float, f32)
KERNELS(double, f64)
