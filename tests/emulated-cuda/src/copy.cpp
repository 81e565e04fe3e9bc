// Allocation, copies and fills. Copies between pageable host memory and the device are done when they return, as a driver
// does them; a copy to pinned memory is done when the host waits, and until then the memory holds nonsense.
#include "emulated.h"
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace {
std::map<Address, size_t> pinned;
struct Late {
  unsigned stream;
  char *to;
  std::vector<char> bytes;
};
std::vector<Late> late;

bool is_pinned(const void *p) {
  auto it = pinned.upper_bound((Address)p);
  return it != pinned.begin() && (Address)p < std::prev(it)->first + std::prev(it)->second;
}
int to_host(void *to, Address from, size_t n, unsigned stream) {
  count(DTOH), count(DTOH_BYTES, n);
  begin_operation(stream, "a copy to the host");
  check_range("a copy to the host", from, n, device_of_stream(stream), false);
  if (is_pinned(to)) {
    late.push_back({stream, (char *)to, std::vector<char>((char *)from, (char *)from + n)});
    memset(to, 0xff, n);
  } else {
    wait_for(stream);
    memcpy(to, (void *)from, n);
  }
  return 0;
}
int to_device(Address to, const void *from, size_t n, unsigned stream) {
  count(HTOD), count(HTOD_BYTES, n);
  begin_operation(stream, "a copy to the device");
  check_range("a copy to the device", to, n, device_of_stream(stream), true);
  memcpy((void *)to, from, n);
  mark_written(to, n);
  return 0;
}
int fill(Address to, unsigned char value, size_t n, unsigned stream) {
  count(MEMSETS);
  begin_operation(stream, "a fill");
  check_range("a fill", to, n, device_of_stream(stream), true);
  memset((void *)to, value, n);
  mark_written(to, n);
  return 0;
}
int within(Address to, Address from, size_t n, unsigned stream) {
  count(DTOD), count(DTOD_BYTES, n);
  begin_operation(stream, "a copy on the device");
  check_range("a copy on the device, from", from, n, device_of_stream(stream), false);
  check_range("a copy on the device, to", to, n, device_of_stream(stream), true);
  memmove((void *)to, (void *)from, n);
  mark_written(to, n);
  return 0;
}
int take(Address *at, size_t n, int device) {
  count(ALLOCATIONS), count(ALLOCATED_BYTES, n);
  return allocate(at, n, device);
}
} // namespace

void finish_copies(int stream) {
  std::vector<Late> others;
  for (Late &one : late)
    if (stream < 0 || one.stream == unsigned(stream)) memcpy(one.to, one.bytes.data(), one.bytes.size());
    else others.push_back(one);
  late.swap(others);
}

extern "C" {
int cuMemAllocAsync(Address *at, size_t n, void *stream) {
  LOCKED;
  unsigned s = stream_of(stream);
  begin_operation(s, "an allocation");
  return take(at, n, device_of_stream(s));
}
int cuMemAlloc_v2(Address *at, size_t n) {
  LOCKED;
  return take(at, n, current_device("cuMemAlloc"));
}
int cuMemFreeAsync(Address at, void *stream) {
  LOCKED;
  begin_operation(stream_of(stream), "a free");
  return release(at);
}
int cuMemFree_v2(Address at) {
  LOCKED;
  wait_for_device(current_device("cuMemFree"));
  begin_operation(stream_of(nullptr), "a free");
  return release(at);
}
int cuMemGetInfo_v2(size_t *left, size_t *total) {
  LOCKED;
  *total = memory_total();
  *left = *total - memory_used(current_device("cuMemGetInfo"));
  return 0;
}
int cuMemHostAlloc(void **p, size_t n, unsigned) {
  LOCKED;
  *p = aligned_alloc(4096, (n + 4095) / 4096 * 4096);
  pinned[(Address)*p] = n;
  return 0;
}
int cuMemFreeHost(void *p) {
  LOCKED;
  pinned.erase((Address)p);
  free(p);
  return 0;
}
int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, void *stream) {
  LOCKED;
  return to_device(to, from, n, stream_of(stream));
}
int cuMemcpyHtoD_v2(Address to, const void *from, size_t n) {
  LOCKED;
  return to_device(to, from, n, stream_of(nullptr));
}
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, void *stream) {
  LOCKED;
  return to_host(to, from, n, stream_of(stream));
}
int cuMemcpyDtoH_v2(void *to, Address from, size_t n) {
  LOCKED;
  return to_host(to, from, n, stream_of(nullptr));
}
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t n, void *stream) {
  LOCKED;
  return within(to, from, n, stream_of(stream));
}
int cuMemcpyDtoD_v2(Address to, Address from, size_t n) {
  LOCKED;
  return within(to, from, n, stream_of(nullptr));
}
int cuMemsetD8Async(Address to, unsigned char value, size_t n, void *stream) {
  LOCKED;
  return fill(to, value, n, stream_of(stream));
}
int cuMemsetD8_v2(Address to, unsigned char value, size_t n) {
  LOCKED;
  return fill(to, value, n, stream_of(nullptr));
}
// the default pool of a device is its number, shifted so that it is no null pointer
int cuDeviceGetDefaultMemPool(void **pool, int device) {
  *pool = (void *)(uintptr_t)(0x2000 + device);
  return 0;
}
int cuDeviceGetMemPool(void **pool, int device) { return cuDeviceGetDefaultMemPool(pool, device); }
int cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
  LOCKED;
  int device = (uintptr_t)pool - 0x2000;
  *(uint64_t *)value = attribute == 7 ? memory_used(device) : attribute == 8 ? memory_high(device) : 0;
  return 0;
}
int cuMemPoolSetAttribute(void *pool, int attribute, void *) {
  LOCKED;
  if (attribute == 8) forget_memory_high((uintptr_t)pool - 0x2000);
  return 0;
}
int cuMemPoolTrimTo(void *, size_t) { return 0; }
}
