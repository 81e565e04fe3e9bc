// A batch out of a split that lies on the device as bytes: each example's byte is looked up in a table of 256 numbers a channel.

// Where a number of examples each read the split: `numbers` are their indices, and where the batch is augmented seven more rows:
// row and column of the output become row `row + down` and column `step * column + start` of the source, and rows top to before
// bottom and columns left to before right are the hole, which is the table's last number. Outside of the source is byte 0.
template <class T>
static __device__ void examples(const unsigned char *bytes, const u32 *labels, const T *table, const long long *numbers, T *images, u32 *chosen, u64 n, u64 channels, u64 height, u64 width, u64 augmented) {
  u32 h = (u32)height, w = (u32)width, k = (u32)channels;
  for (u32 e = first(); e < n; e += stride()) chosen[e] = labels[numbers[e]];
  for (u32 e = first(); e < n * k * h * w; e += stride()) {
    u32 column = e % w, rest = e / w, row = rest % h, plane = rest / h, channel = plane % k, i = plane / k;
    const unsigned char *source = bytes + ((u64)numbers[i] * k + channel) * h * w;
    if (!augmented) {
      images[e] = table[256 * channel + source[row * w + column]];
      continue;
    }
    const long long *plan = numbers + n + i;
    long long down = plan[0], step = plan[n], start = plan[2 * n];
    if (row >= plan[3 * n] && row < plan[4 * n] && column >= plan[5 * n] && column < plan[6 * n]) {
      images[e] = table[256 * k];
      continue;
    }
    long long from_row = row + down, from_column = step * column + start;
    bool inside = from_row >= 0 && from_row < h && from_column >= 0 && from_column < w;
    images[e] = table[256 * channel + (inside ? source[from_row * w + from_column] : 0)];
  }
}

#define KERNELS(T, NAME)                                                                                                                                                   \
  extern "C" __global__ void examples_##NAME(const unsigned char *bytes, const u32 *labels, const T *table, const long long *numbers, T *images, u32 *chosen, u64 n,       \
                                             u64 channels, u64 height, u64 width, u64 augmented) {                                                                         \
    examples(bytes, labels, table, numbers, images, chosen, n, channels, height, width, augmented);                                                                        \
  }
KERNELS(float, f32)
KERNELS(double, f64)
