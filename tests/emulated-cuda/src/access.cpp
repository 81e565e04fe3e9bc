// Every load and store of a kernel: the compiler's thread instrumentation calls these functions instead of a sanitizer's.
#include "emulated.h"
#include <algorithm>
#include <cstring>
#include <vector>

namespace {
Image image;
// of shared memory, a cell a byte; `Touch::op` is the block's serial number there
std::vector<Cell> *shared;
std::vector<std::pair<Address, std::vector<Cell> *>> images;

constexpr uint64_t repeat(uint64_t byte) { return byte * 0x0101010101010101ull; }

void bad_state(const char *what, Address a, size_t n) {
  uint8_t *s = state_at(a);
  size_t i = 0;
  bool write = *what == 's';
  while (i + 1 < n && (s[i] == WRITTEN || (write && s[i] == FRESH))) i++;
  const char *kind = s[i] == FRESH ? "uninitialised read" : s[i] == FREED ? "use after free" : "out of bounds";
  finding(kind, "%s of %zu bytes at %#lx: %s", what, n, (unsigned long)a, whereabouts(a + i).c_str());
}

void race(const char *what, Address a, Touch other, const char *did, const char *memory) {
  const char *who = other.block == running.block % BLOCKS ? "the same block" : "another block";
  if (other.thread == MANY) finding("race", "%s at %#lx in %s memory, which several threads %s without a barrier between", what, (unsigned long)a, memory, did);
  if (other.thread == ATOMIC) finding("race", "%s at %#lx in %s memory, which another thread changed atomically", what, (unsigned long)a, memory);
  finding("race", "%s at %#lx in %s memory, which thread %u of %s %s without a barrier between", what, (unsigned long)a, memory, (unsigned)other.thread, who, did);
}

// Whether two threads of one launch met without a barrier.
inline bool unordered(Touch other, Touch self) {
  if (other.block != self.block) return true;
  return other.thread != self.thread && other.epoch == self.epoch;
}

template <bool WRITE, bool ATOMICALLY> inline void touch_cell(Cell *cell, Touch self, Address a, const char *what, const char *memory) {
  if (ATOMICALLY) self.thread = ATOMIC;
  Touch w = cell->writer, r = cell->reader;
  if (w.op == self.op) {
    if (!(ATOMICALLY && w.thread == ATOMIC) && unordered(w, self)) race(what, a, w, "wrote", memory);
  }
  if (WRITE) {
    if (r.op == self.op && unordered(r, self)) race(what, a, r, "read", memory);
    cell->writer = self;
  } else {
    // several readers at once are no race, but a writer after them is
    if (r.op == self.op && unordered(r, self)) {
      self.thread = MANY;
      if (r.block != self.block) self.block = BLOCKS - 1;
    } else if (r.op == self.op && r.epoch == self.epoch && r.thread == MANY)
      return;
    cell->reader = self;
  }
}

template <unsigned N, bool WRITE, bool ATOMICALLY> inline void touch(void *p) {
  Address a = (Address)p;
  const char *what = WRITE ? "store" : "load";
  if (on_device(a)) {
    if (a % N) finding("misaligned", "%s of %u bytes at %#lx", what, N, (unsigned long)a);
    if (device_of(a) != running.device) finding("wrong context", "%s at %#lx, which is memory of device %d, on device %d", what, (unsigned long)a, device_of(a), running.device);
    uint8_t *s = state_at(a);
    constexpr unsigned PART = N < 8 ? N : 8;
    constexpr uint64_t MASK = PART == 8 ? ~0ull : (1ull << (8 * PART % 64)) - 1;
    for (unsigned i = 0; i < N; i += PART) {
      uint64_t v = 0;
      memcpy(&v, s + i, PART);
      if (WRITE) {
        // FRESH and WRITTEN are the states with one bit
        if (__builtin_expect(((v ^ (v >> 1)) & (repeat(1) & MASK)) != (repeat(1) & MASK), 0)) bad_state(what, a, N);
        if (ATOMICALLY && v != (repeat(WRITTEN) & MASK)) bad_state("load", a, N);
        v = repeat(WRITTEN);
        memcpy(s + i, &v, PART);
      } else if (__builtin_expect(v != (repeat(WRITTEN) & MASK), 0))
        bad_state(what, a, N);
    }
    // smaller elements share their four bytes with their neighbours: their races are not looked for
    if (N >= 4) {
      const Touch self = touch_by(running.op, running.block, running.thread, running.epoch);
      if (__builtin_expect(several_streams, 0)) check_touches(what, a, N, WRITE);
      for (unsigned i = 0; i < N; i += 4) {
        Cell *cell = cell_at(a + i);
        touch_cell<WRITE, ATOMICALLY>(cell, self, a + i, what, "global");
      }
    }
  } else if (a - image.writable < image.writable_end - image.writable) {
    const Touch self = touch_by(running.serial, running.block, running.thread, running.epoch);
    for (unsigned i = 0; i < N; i += N < 4 ? N : 4) {
      Cell *cell = &(*shared)[a + i - image.writable];
      if ((!WRITE || ATOMICALLY) && cell->writer.op != self.op)
        finding("uninitialised read", "load of %u bytes of shared memory that no thread of this block has written", N);
      touch_cell<WRITE, ATOMICALLY>(cell, self, a + i, what, "shared");
    }
  } else if (!on_fibre_stack(a) && a - image.begin >= image.end - image.begin)
    finding("out of bounds", "%s of %u bytes at %#lx, which is no device memory", what, N, (unsigned long)a);
}
} // namespace

void enter_image(const Image &other) {
  image = other;
  for (auto &one : images)
    if (one.first == image.begin) {
      shared = one.second;
      return;
    }
  shared = new std::vector<Cell>(image.writable_end - image.writable + 16);
  images.push_back({image.begin, shared});
}

void forget_shared() {
  for (auto &one : images) std::fill(one.second->begin(), one.second->end(), Cell{});
}

#define HOOKS(N)                                                          \
  void __tsan_read##N(void *p) { touch<N, false, false>(p); }             \
  void __tsan_write##N(void *p) { touch<N, true, false>(p); }             \
  void __tsan_unaligned_read##N(void *p) { touch<N, false, false>(p); }   \
  void __tsan_unaligned_write##N(void *p) { touch<N, true, false>(p); }   \
  void __tsan_volatile_read##N(void *p) { touch<N, false, false>(p); }    \
  void __tsan_volatile_write##N(void *p) { touch<N, true, false>(p); }    \
  void flat_atomic##N(void *p) { touch<N, true, true>(p); }
extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_read_range(void *p, unsigned long n) {
  for (unsigned long i = 0; i < n; i++) touch<1, false, false>((char *)p + i);
}
void __tsan_write_range(void *p, unsigned long n) {
  for (unsigned long i = 0; i < n; i++) touch<1, true, false>((char *)p + i);
}
}
