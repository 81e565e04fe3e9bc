// What the stand-ins of NVIDIA's libraries need: an operation of a stream, with its operands checked, and a product.
#pragma once
#include "emulated.h"
#include <cstring>
#include <type_traits>
#include <vector>

// A call of a library as an operation of a stream.
struct Call {
  int device;
  Call(const char *name, void *stream) {
    device_lock.lock();
    unsigned s = stream_of(stream);
    device = device_of_stream(s);
    count(LIBRARY_CALLS);
    count_kernel(name);
    begin_operation(s, name);
  }
  ~Call() { device_lock.unlock(); }
  Call(const Call &) = delete;
  void reads(const char *what, const void *p, size_t bytes) const { check_range(what, (Address)p, bytes, device, false); }
  void writes(const char *what, void *p, size_t bytes) const {
    check_range(what, (Address)p, bytes, device, true);
    mark_written((Address)p, bytes);
  }
};

// Ends the process for an operand that a library would take to slow kernels.
inline void check_aligned(const char *what, const void *p) {
  if ((Address)p % 16) finding("slow operand", "%s at %p, which is no multiple of 16 bytes", what, p);
}

struct Bf16 {
  uint16_t bits;
  operator float() const {
    uint32_t u = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
  }
  Bf16() = default;
  Bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    bits = (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
};

// c (m, n) = a (m, k) b (k, n), row-major and packed; added to c where asked.
template <class T> void product(int m, int n, int k, const T *a, const T *b, T *c, bool add) {
  if (!add) memset((void *)c, 0, sizeof(T) * m * n);
  constexpr int DEEP = 256, WIDE = 512;
  for (int k0 = 0; k0 < k; k0 += DEEP)
    for (int j0 = 0; j0 < n; j0 += WIDE) {
      int k1 = k0 + DEEP < k ? k0 + DEEP : k, j1 = j0 + WIDE < n ? j0 + WIDE : n;
      for (int i = 0; i < m; i++) {
        T *__restrict row = c + (size_t)i * n;
        for (int l = k0; l < k1; l++) {
          const T x = a[(size_t)i * k + l];
          const T *__restrict y = b + (size_t)l * n;
          for (int j = j0; j < j1; j++) row[j] += x * y[j];
        }
      }
    }
}
