// The threads of a block, as fibres that take turns: each runs until it ends or stands at a barrier. A fibre carries out one
// thread after another as long as none waits, so that kernels without barriers cost no switch.
#include "emulated.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#error "the switch of fibres is written for x86-64"
#endif

Running running;
extern "C" {
Index flat_thread, flat_block, flat_block_size, flat_grid_size;
void flat_switch(void **from, void *to);
}
asm(R"(
.text
.type flat_switch,@function
flat_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace {
constexpr unsigned MOST = 1024;
constexpr size_t STACK = 64 << 10;
enum Wait : uint8_t { RUNS, AT_BARRIER, AT_SHUFFLE, DONE };

char *stacks;
void *scheduler, *pointers[MOST];
unsigned fibre_of[MOST], fibres, fibre, begun, ended;
Wait waits[MOST];
Entry entry;
void **arguments;
unsigned threads;
uint64_t shuffled[MOST];

// every second block runs its threads from the last to the first: an order that works by luck does not work twice
unsigned in_order(unsigned i) { return running.block % 2 ? i : threads - 1 - i; }

void become(unsigned t) {
  running.thread = t;
  flat_thread = {t % flat_block_size.x, t / flat_block_size.x % flat_block_size.y, t / (flat_block_size.x * flat_block_size.y)};
  running.of_block = flat_thread;
}

void work() {
  while (begun < threads) {
    unsigned t = in_order(begun++);
    fibre_of[t] = fibre;
    become(t);
    entry(arguments);
    // a thread that waited is the one that runs again
    waits[running.thread] = DONE;
    ended++;
  }
  void *unused;
  flat_switch(&unused, scheduler);
  abort();
}

void start_fibre() {
  fibre = fibres++;
  uintptr_t top = ((uintptr_t)stacks + (fibre + 1) * STACK) & ~(uintptr_t)63;
  void **sp = (void **)top;
  *--sp = nullptr; // a return address that is never used, for the alignment of a call
  *--sp = (void *)work;
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  flat_switch(&scheduler, sp);
}

void resume(unsigned t) {
  waits[t] = RUNS;
  fibre = fibre_of[t];
  become(t);
  flat_switch(&scheduler, pointers[fibre]);
}

void stand(Wait at) {
  unsigned t = running.thread;
  waits[t] = at;
  flat_switch(&pointers[fibre_of[t]], scheduler);
}

// Warps whose threads all stand at a shuffle go on.
bool let_warps_go() {
  bool any = false;
  for (unsigned w = 0; w < threads; w += 32) {
    unsigned end = w + 32 < threads ? w + 32 : threads, at = 0, live = 0;
    for (unsigned t = w; t < end; t++) live += waits[t] != DONE, at += waits[t] == AT_SHUFFLE;
    if (at == 0 || at < live) continue;
    any = true;
    for (unsigned t = w; t < end; t++)
      if (waits[t] == AT_SHUFFLE) resume(t);
  }
  return any;
}

void run_block() {
  fibres = begun = ended = 0;
  running.epoch = 1;
  if (++running.serial % OPERATIONS == 0) {
    forget_shared();
    running.serial++;
  }
  memset(waits, RUNS, threads);
  while (begun < threads) start_fibre();
  while (ended < threads) {
    if (let_warps_go()) continue;
    unsigned at = 0;
    for (unsigned t = 0; t < threads; t++) at += waits[t] == AT_BARRIER;
    if (at < threads - ended) finding("deadlock", "kernel %s: %u threads wait for a shuffle that others of their warp do not reach", running.kernel, threads - ended - at);
    if (ended) finding("diverged barrier", "kernel %s, block (%u, %u, %u): %u threads wait at a barrier, and %u have ended", running.kernel, running.at.x, running.at.y, running.at.z, at, ended);
    running.epoch++;
    for (unsigned i = 0; i < threads; i++) resume(in_order(i));
  }
}
} // namespace

extern "C" {
void flat_barrier() { stand(AT_BARRIER); }
// The value that another thread of the warp gives.
uint64_t flat_shuffle(uint64_t mine, unsigned other) {
  unsigned t = running.thread, from = t / 32 * 32 + other;
  shuffled[t] = mine;
  stand(AT_SHUFFLE);
  uint64_t theirs = from < threads ? shuffled[from] : mine;
  stand(AT_SHUFFLE);
  return theirs;
}
}

bool on_fibre_stack(Address a) { return a - (Address)stacks < MOST * STACK; }

void run_grid(Entry kernel, void **args, Index grid, Index block) {
  if (!stacks) {
    stacks = (char *)mmap(nullptr, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) abort();
  }
  entry = kernel;
  arguments = args;
  flat_grid_size = grid;
  flat_block_size = block;
  threads = block.x * block.y * block.z;
  running.block = 0;
  running.active = true;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        flat_block = running.at = {x, y, z};
        run_block();
        running.block++;
      }
  running.active = false;
}
