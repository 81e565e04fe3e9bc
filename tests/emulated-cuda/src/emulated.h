// What the files of the emulated driver share: device memory with its shadow, operations in the order of streams, findings.
//
// Device memory is host memory in one arena a device. Every byte has a state, every four bytes the last operation that wrote
// and read them. The compiler's thread instrumentation calls access.cpp at every load and store of a kernel, and a mistake
// that a GPU would pass over in silence ends the process with a sentence.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

typedef uint64_t Address;

constexpr Address ARENA = 0x200000000000, STATES = 0x300000000000, CELLS = 0x400000000000;
// room of a device's addresses, and the devices that there may be
constexpr Address SPAN = 1ull << 36;
constexpr int MOST_DEVICES = 4;

enum State : uint8_t { OUTSIDE = 0, FRESH = 1, WRITTEN = 2, FREED = 3 };

// Who touched four bytes last. A thread's own number, or:
constexpr unsigned ATOMIC = 2046, MANY = 2047;
struct Touch {
  uint64_t op : 22, block : 19, thread : 11, epoch : 12;
};
struct Cell {
  Touch writer, reader;
};
static_assert(sizeof(Touch) == 8);
constexpr unsigned OPERATIONS = 1u << 22, BLOCKS = 1u << 19, EPOCHS = 1u << 12;
inline Touch touch_by(unsigned op, unsigned block, unsigned thread, unsigned epoch) {
  Touch touch;
  touch.op = op % OPERATIONS;
  touch.block = block % BLOCKS;
  touch.thread = thread;
  touch.epoch = epoch % EPOCHS;
  return touch;
}

inline bool on_device(Address a) { return a - ARENA < SPAN * MOST_DEVICES; }
inline int device_of(Address a) { return int((a - ARENA) / SPAN); }
inline uint8_t *state_at(Address a) { return (uint8_t *)(STATES + (a - ARENA)); }
inline Cell *cell_at(Address a) { return (Cell *)(CELLS + (a - ARENA) / 4 * sizeof(Cell)); }

// One lock for all: the emulated device does one thing at a time.
extern std::recursive_mutex device_lock;
typedef std::lock_guard<std::recursive_mutex> Locked;
#define LOCKED Locked locked(device_lock)

// ---- finding.cpp
// Prints the finding with the kernel, block and thread that run, and ends the process.
[[noreturn]] void finding(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- memory.cpp
int allocate(Address *at, size_t bytes, int device);
int release(Address at);
// Ends the process unless the bytes belong to one allocation of `device` and, to be read, have been written.
void check_range(const char *what, Address at, size_t bytes, int device, bool write);
void mark_written(Address at, size_t bytes);
// Ends the process unless what was done with the bytes, by kernels and others, is ordered before the current operation.
void check_touches(const char *what, Address at, size_t bytes, bool write);
// The numbers of operations begin anew: nobody has touched anything.
void forget_touches();
// What is known of an address: "40 bytes past the end of an allocation of 400 bytes".
std::string whereabouts(Address at);
size_t memory_used(int device), memory_high(int device), memory_total();
void forget_memory_high(int device);

// ---- stream.cpp
// The stream of a handle, for this thread and its context; ends the process for one that was destroyed or is another context's.
unsigned stream_of(void *handle);
// A new operation of a stream: its number in `Touch::op`.
unsigned begin_operation(unsigned stream, const char *name);
// Ends the process unless the operation `before` is ordered before the current one.
void compare_order(unsigned before, const char *what, Address at);
extern bool several_streams;
inline void check_order(unsigned before, const char *what, Address at) {
  if (several_streams && before != 0) compare_order(before, what, at);
}
// The operation that runs.
unsigned operation();
// The host has waited for everything in a stream.
void wait_for(unsigned stream);
void wait_for_device(int device);
int device_of_stream(unsigned stream);

// ---- copy.cpp
// Copies to pinned memory arrive: those of a stream, or all.
void finish_copies(int stream = -1);

// ---- driver.cpp
// The device of this thread's context; ends the process without one.
int current_device(const char *call);
int devices();

// ---- block.cpp
struct Index {
  unsigned x, y, z;
};
struct Running {
  const char *kernel;
  unsigned op, block, thread, epoch;
  uint64_t serial; // of the block, over all launches
  int device;
  Index at, of_block;
  bool active;
};
extern Running running;
typedef void (*Entry)(void **args);
void run_grid(Entry entry, void **args, Index grid, Index block);
bool on_fibre_stack(Address a);

// ---- access.cpp
struct Image {
  Address begin, end, writable, writable_end;
};
// The kernels' library that runs: its static memory is the blocks' shared memory.
void enter_image(const Image &image);
void forget_shared();

// ---- counts.cpp
enum Count { LAUNCHES, LIBRARY_CALLS, HTOD, HTOD_BYTES, DTOH, DTOH_BYTES, DTOD, DTOD_BYTES, MEMSETS, ALLOCATIONS, ALLOCATED_BYTES, EVENTS, HOST_SYNCS, ALGORITHM_QUERIES, COUNTS };
void count(Count what, uint64_t by = 1);
void count_kernel(const std::string &name);
