// Device memory: allocations between redzones in an arena a device, and the state of every byte.
//
// Freed memory keeps its addresses for a while, so that a late use is seen; then an allocation of about that size takes them.
#include "emulated.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <vector>

namespace {
constexpr Address REDZONE = 256;
constexpr size_t QUARANTINE = 64 << 20;
// bytes that nobody uses and that stay with this process all the same, to be taken again
constexpr size_t IDLE = 256 << 20;

struct Allocation {
  size_t bytes;
  bool freed;
  // with the shadow of kernels' touches; otherwise the system has it back
  bool resident;
  // the last copies, fills and library calls; what kernels do is in the cells
  unsigned writer, reader;
};
struct Memory {
  Address next;
  size_t used = 0, high = 0, waiting = 0, idle = 0;
  // by address; freed ones too, until they are taken again
  std::map<Address, Allocation> allocations;
  std::deque<Address> quarantine;
  std::map<size_t, std::vector<Address>> spare;
};
Memory memories[MOST_DEVICES];

// The room of an allocation. Eight sizes for each power of two, so that tensors of one network fit where another's were.
size_t rounded(size_t bytes) {
  size_t step = 256;
  while (step * 16 < bytes) step *= 2;
  return (std::max<size_t>(bytes, 1) + step - 1) / step * step;
}

// Gives whole pages back to the system; they will be zeros.
void give_back(void *from, size_t bytes) {
  uintptr_t begin = ((uintptr_t)from + 4095) & ~(uintptr_t)4095, end = ((uintptr_t)from + bytes) & ~(uintptr_t)4095;
  if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void *reserve(Address at, size_t bytes) {
  void *got = mmap((void *)at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != (void *)at) {
    fprintf(stderr, "emulated CUDA: %zu bytes of addresses at %#lx cannot be had\n", bytes, (unsigned long)at);
    abort();
  }
  madvise(got, bytes, MADV_DONTDUMP);
  return got;
}

Memory &memory(int device) {
  Memory &m = memories[device];
  if (m.next == 0) {
    Address base = ARENA + device * SPAN;
    reserve(base, SPAN);
    reserve((Address)state_at(base), SPAN);
    reserve((Address)cell_at(base), SPAN * 4);
    m.next = base + REDZONE;
  }
  return m;
}

// The allocation at or before an address.
std::map<Address, Allocation>::iterator before(Memory &m, Address at) {
  auto it = m.allocations.upper_bound(at);
  return it == m.allocations.begin() ? m.allocations.end() : std::prev(it);
}
} // namespace

size_t memory_total() {
  const char *mib = getenv("FLAT_EMULATED_MEMORY_MIB");
  return (mib ? strtoull(mib, nullptr, 10) : 16384) << 20;
}
size_t memory_used(int device) { return memory(device).used; }
size_t memory_high(int device) { return memory(device).high; }
void forget_memory_high(int device) { memory(device).high = memory(device).used; }

int allocate(Address *at, size_t bytes, int device) {
  Memory &m = memory(device);
  if (m.used + bytes > memory_total()) return 2;
  size_t room = rounded(bytes);
  auto &spare = m.spare[room];
  if (!spare.empty()) {
    *at = spare.back();
    spare.pop_back();
    if (m.allocations[*at].resident) m.idle -= room;
  } else {
    if (m.next + room + REDZONE > ARENA + (device + 1) * SPAN) return 2;
    *at = m.next;
    m.next += room + REDZONE;
  }
  memset(state_at(*at), OUTSIDE, room);
  memset(state_at(*at), FRESH, bytes);
  // NaNs, should a read not be checked: what the memory held before would pass for numbers
  memset((void *)*at, 0xff, bytes);
  // what was done with the memory before is in order with its being allocated again
  if (several_streams) memset(cell_at(*at), 0, room * 4);
  m.allocations[*at] = {bytes, false, true, several_streams ? operation() : 0, 0};
  m.used += bytes;
  m.high = std::max(m.high, m.used);
  return 0;
}

int release(Address at) {
  if (!on_device(at)) finding("bad free", "%#lx is no device memory", (unsigned long)at);
  Memory &m = memory(device_of(at));
  auto it = m.allocations.find(at);
  if (it == m.allocations.end()) finding("bad free", "%#lx: %s", (unsigned long)at, whereabouts(at).c_str());
  if (it->second.freed) finding("double free", "%#lx: %s", (unsigned long)at, whereabouts(at).c_str());
  size_t bytes = it->second.bytes, room = rounded(bytes);
  // what other streams still do with it must be ordered before: the last touches of every four bytes
  if (several_streams) check_touches("a free", at, bytes, true);
  memset(state_at(at), FREED, room);
  it->second.freed = true;
  m.used -= bytes;
  m.waiting += room;
  m.quarantine.push_back(at);
  while (m.waiting > QUARANTINE && m.quarantine.size() > 1) {
    Address old = m.quarantine.front();
    m.quarantine.pop_front();
    Allocation &retired = m.allocations[old];
    size_t size = rounded(retired.bytes);
    m.waiting -= size;
    m.spare[size].push_back(old);
    retired.resident = m.idle + size <= IDLE;
    if (retired.resident)
      m.idle += size;
    else {
      give_back((void *)old, size);
      give_back(cell_at(old), size * 4);
    }
  }
  return 0;
}

std::string whereabouts(Address at) {
  if (!on_device(at)) return "no device memory";
  Memory &m = memory(device_of(at));
  auto it = before(m, at);
  char text[200];
  if (it == m.allocations.end()) return "before the first allocation";
  Address end = it->first + it->second.bytes;
  const char *an = it->second.freed ? "a freed" : "an";
  if (at < end)
    snprintf(text, sizeof text, "byte %lu of %s allocation of %zu bytes", (unsigned long)(at - it->first), an, it->second.bytes);
  else
    snprintf(text, sizeof text, "%lu bytes past the end of %s allocation of %zu bytes", (unsigned long)(at - end), an, it->second.bytes);
  return text;
}

void check_range(const char *what, Address at, size_t bytes, int device, bool write) {
  if (bytes == 0) return;
  unsigned long shown = at;
  if (!on_device(at)) finding("out of bounds", "%s of %zu bytes at %#lx, which is no device memory", what, bytes, shown);
  if (device_of(at) != device) finding("wrong context", "%s on device %d at %#lx, which is memory of device %d", what, device, shown, device_of(at));
  const uint8_t *s = state_at(at);
  constexpr uint64_t all = 0x0101010101010101ull;
  for (size_t i = 0; i < bytes; i++) {
    // eight at once: FRESH and WRITTEN are the states with one bit
    for (uint64_t v; i + 8 <= bytes; i += 8) {
      memcpy(&v, s + i, 8);
      if (write ? ((v ^ (v >> 1)) & all) != all : v != all * WRITTEN) break;
    }
    if (i == bytes) break;
    if (s[i] == WRITTEN || (write && s[i] == FRESH)) continue;
    const char *kind = s[i] == FRESH ? "uninitialised read" : s[i] == FREED ? "use after free" : "out of bounds";
    finding(kind, "%s of %zu bytes at %#lx: byte %zu is %s", what, bytes, shown, i, whereabouts(at + i).c_str());
  }
  if (several_streams) check_touches(what, at, bytes, write);
  Allocation &allocation = before(memory(device), at)->second;
  (write ? allocation.writer : allocation.reader) = operation();
}

void check_touches(const char *what, Address at, size_t bytes, bool write) {
  const Allocation &allocation = before(memory(device_of(at)), at)->second;
  check_order(allocation.writer, what, at);
  if (write) check_order(allocation.reader, what, at);
  for (Address a = at; a < at + bytes; a += 4) {
    check_order(cell_at(a)->writer.op, what, a);
    if (write) check_order(cell_at(a)->reader.op, what, a);
  }
}

void mark_written(Address at, size_t bytes) { memset(state_at(at), WRITTEN, bytes); }

void forget_touches() {
  for (Memory &m : memories)
    for (auto &one : m.allocations) {
      if (!one.second.resident) continue;
      memset(cell_at(one.first), 0, rounded(one.second.bytes) * 4);
      one.second.writer = one.second.reader = 0;
    }
}
