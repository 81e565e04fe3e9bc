// What the passes of normalisation share: (outer, channels, inner), a block a channel or a run of one.

struct Run {
  u64 begin, end;
};

// The block's part of its channel, blockIdx.x.
static __device__ inline Run run_of(u64 count) {
  u64 per = (count + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * per;
  Run run = {begin < count ? begin : count, begin + per < count ? begin + per : count};
  return run;
}

// The place of the `e`-th element of a channel.
static __device__ inline u64 place(u32 e, u32 channel, u32 channels, u32 inner) {
  return ((u64)(e / inner) * channels + channel) * inner + e % inner;
}

// What a channel is normalised by. A gain or bias that is no address is 1 or 0.
template <class T> struct Channel {
  T mean, r, gain, bias;
};

template <class T> static __device__ inline Channel<T> channel_of(double mean, double r, const T *gain, const T *bias, u32 c) {
  Channel<T> of = {T(mean), T(r), gain ? gain[c] : T(1), bias ? bias[c] : T(0)};
  return of;
}

// What every pass makes the output with, so that relu's place is the same in all of them.
template <class T> static __device__ inline T affine(T x, Channel<T> of) { return fma(x - of.mean, of.r * of.gain, of.bias); }

// g where relu let x through: where the output y is positive, which is given or computed again. mask: 0 no relu, 1 again, 2 given.
template <class T> static __device__ inline T masked(T g, u64 e, const T *x, const T *y, Channel<T> of, u64 mask) {
  if (mask == 0) return g;
  T out = mask == 2 ? y[e] : affine(x[e], of);
  return out <= T(0) ? T(0) : g;
}
