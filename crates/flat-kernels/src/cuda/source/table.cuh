// Kernels over all parameters at once. A table describes the parameters: `entries` + 1 offsets into a flat vector, then the
// `entries` addresses of their own tensors. A block takes CHUNK elements of the flat vector.

#define CHUNK 4096

// The parameter that holds the e-th element of the flat vector; empty ones hold none.
static __device__ inline u64 entry_of(const u64 *offsets, u64 entries, u64 e) {
  u64 low = 0, high = entries;
  while (high - low > 1) {
    u64 middle = (low + high) / 2;
    if (offsets[middle] <= e) low = middle;
    else high = middle;
  }
  return low;
}
