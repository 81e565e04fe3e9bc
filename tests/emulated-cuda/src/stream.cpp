// Streams and events: which operation is ordered before which.
//
// Everything is carried out at once, in the order of the calls. What a device might do in another order is found by the
// streams' clocks: how far each stream has waited for every other, and how far the host has waited.
#include "emulated.h"
#include <algorithm>
#include <map>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

bool several_streams = false;

namespace {
typedef std::vector<uint64_t> Clock;
enum Kind { LEGACY, PER_THREAD, BLOCKING, NON_BLOCKING };
struct Stream {
  int device;
  Kind kind;
  uint64_t last; // of its operations
  Clock waited;  // for the operations of other streams
  bool destroyed;
};
std::vector<Stream> streams;
Clock complete; // what the host has waited for
std::map<std::pair<int, long>, unsigned> per_thread;
std::map<int, unsigned> legacy;
struct Operation {
  unsigned stream;
  uint64_t number;
};
std::vector<Operation> operations;
unsigned next_operation = 0, current_operation = 0;

uint64_t &at(Clock &clock, unsigned i) {
  if (clock.size() <= i) clock.resize(i + 1);
  return clock[i];
}
void join(Clock &to, const Clock &from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); i++) to[i] = std::max(to[i], from[i]);
}
unsigned add(int device, Kind kind) {
  streams.push_back({device, kind, 0, {}, false});
  several_streams = streams.size() > 1;
  return streams.size() - 1;
}
Clock so_far(unsigned s) {
  Clock clock = streams[s].waited;
  at(clock, s) = streams[s].last;
  return clock;
}
struct Event {
  Clock clock;
};
} // namespace

unsigned stream_of(void *handle) {
  int device = current_device("a call with a stream");
  uintptr_t h = (uintptr_t)handle;
  if (h == 2) {
    auto key = std::make_pair(device, syscall(SYS_gettid));
    auto it = per_thread.find(key);
    return it != per_thread.end() ? it->second : per_thread[key] = add(device, PER_THREAD);
  }
  if (h <= 1) {
    auto it = legacy.find(device);
    return it != legacy.end() ? it->second : legacy[device] = add(device, LEGACY);
  }
  unsigned s = h - 16;
  if (s >= streams.size() || streams[s].destroyed) finding("wrong stream", "%#lx is no stream, or was destroyed", (unsigned long)h);
  if (streams[s].device != device) finding("wrong context", "a stream of device %d is used where device %d is current", streams[s].device, device);
  return s;
}

int device_of_stream(unsigned s) { return streams[s].device; }
unsigned operation() { return current_operation; }

unsigned begin_operation(unsigned s, const char *) {
  if (++next_operation == OPERATIONS) {
    forget_touches();
    next_operation = 1;
  }
  if (operations.size() <= next_operation) operations.resize(std::max<size_t>(1 << 12, 2 * next_operation));
  Stream &own = streams[s];
  // the legacy stream waits for all that do not refuse it, and they for it
  for (unsigned i = 0; i < streams.size(); i++) {
    Stream &other = streams[i];
    if (i == s || other.device != own.device || own.kind == NON_BLOCKING || other.kind == NON_BLOCKING) continue;
    if (own.kind == LEGACY || other.kind == LEGACY) join(streams[s].waited, so_far(i));
  }
  operations[next_operation] = {s, ++streams[s].last};
  return current_operation = next_operation;
}

void compare_order(unsigned before, const char *what, Address address) {
  Operation a = operations[before], b = operations[current_operation];
  if (a.stream == b.stream || a.stream >= streams.size()) return;
  if (at(streams[b.stream].waited, a.stream) >= a.number || at(complete, a.stream) >= a.number) return;
  finding("wrong stream", "%s at %#lx (%s) does not wait for what another stream does there", what, (unsigned long)address, whereabouts(address).c_str());
}

void wait_for(unsigned s) {
  join(complete, so_far(s));
  finish_copies(s);
  count(HOST_SYNCS);
}

void wait_for_device(int device) {
  for (unsigned s = 0; s < streams.size(); s++)
    if (streams[s].device == device) join(complete, so_far(s)), finish_copies(s);
  count(HOST_SYNCS);
}

extern "C" {
int cuStreamCreate(void **out, unsigned flags) {
  LOCKED;
  *out = (void *)(uintptr_t)(16 + add(current_device("cuStreamCreate"), flags & 1 ? NON_BLOCKING : BLOCKING));
  return 0;
}
int cuStreamCreateWithPriority(void **out, unsigned flags, int) { return cuStreamCreate(out, flags); }
int cuStreamDestroy_v2(void *handle) {
  LOCKED;
  unsigned s = stream_of(handle);
  // what it still had to do is carried out
  join(complete, so_far(s));
  streams[s].destroyed = true;
  return 0;
}
int cuStreamSynchronize(void *handle) {
  LOCKED;
  wait_for(stream_of(handle));
  return 0;
}
int cuStreamIsCapturing(void *, int *status) {
  *status = 0;
  return 0;
}
int cuStreamWaitEvent(void *handle, void *event, unsigned) {
  LOCKED;
  join(streams[stream_of(handle)].waited, ((Event *)event)->clock);
  return 0;
}
int cuEventCreate(void **event, unsigned) {
  LOCKED;
  count(EVENTS);
  *event = new Event;
  return 0;
}
int cuEventDestroy_v2(void *event) {
  delete (Event *)event;
  return 0;
}
int cuEventRecord(void *event, void *handle) {
  LOCKED;
  ((Event *)event)->clock = so_far(stream_of(handle));
  return 0;
}
int cuEventQuery(void *event) {
  LOCKED;
  join(complete, ((Event *)event)->clock);
  return 0;
}
int cuEventSynchronize(void *event) {
  LOCKED;
  join(complete, ((Event *)event)->clock);
  finish_copies();
  count(HOST_SYNCS);
  return 0;
}
int cuEventElapsedTime(float *ms, void *, void *) {
  *ms = 0;
  return 0;
}
int cuEventElapsedTime_v2(float *ms, void *a, void *b) { return cuEventElapsedTime(ms, a, b); }
int cuCtxSynchronize() {
  LOCKED;
  wait_for_device(current_device("cuCtxSynchronize"));
  return 0;
}
}
