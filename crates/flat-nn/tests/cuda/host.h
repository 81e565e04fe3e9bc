// Runs CUDA kernels on the host, for their values: the threads of a block are fibers that take turns at every barrier, the
// blocks run one after another. A thread that reads what another has not written yet before a barrier reads a wrong number
// here too, as a fiber runs until its next barrier without pause.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static

struct Index {
  unsigned int x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline double __longlong_as_double(long long bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline long long __double_as_longlong(double x) {
  long long bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

typedef void (*Kernel)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static const size_t STACK = 1 << 16;
static ucontext_t scheduler, *fibers;
static unsigned int running;
static bool *done;
static Kernel kernel_to_run;
static const uint64_t *arguments;

static void __syncthreads() { swapcontext(&fibers[running], &scheduler); }

static void fiber() {
  const uint64_t *a = arguments;
  kernel_to_run(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16], a[17],
                a[18], a[19]);
  done[running] = true;
  swapcontext(&fibers[running], &scheduler);
}

// Launches a kernel whose arguments are 64 bits each; `args` holds 20, of which it takes its own. Returns 1 where some
// threads of a block were done while others waited at a barrier.
extern "C" int flat_launch(void *kernel, unsigned int gx, unsigned int gy, unsigned int threads, const uint64_t *args) {
  kernel_to_run = (Kernel)kernel;
  arguments = args;
  fibers = (ucontext_t *)calloc(threads, sizeof *fibers);
  done = (bool *)calloc(threads, sizeof *done);
  char *stacks = (char *)malloc(threads * STACK);
  gridDim = {gx, gy, 1};
  blockDim = {threads, 1, 1};
  int diverged = 0;
  for (unsigned int y = 0; y < gy; y++)
    for (unsigned int x = 0; x < gx; x++) {
      blockIdx = {x, y, 0};
      for (unsigned int t = 0; t < threads; t++) {
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks + t * STACK;
        fibers[t].uc_stack.ss_size = STACK;
        fibers[t].uc_link = &scheduler;
        makecontext(&fibers[t], fiber, 0);
        done[t] = false;
      }
      for (unsigned int left = threads; left > 0;) {
        unsigned int finished = 0;
        // the last thread first: what a thread needs of a later one without a barrier is not there by luck of the order,
        // and the other way round in every second block
        for (unsigned int i = 0; i < threads; i++) {
          unsigned int t = (x + y) % 2 ? i : threads - 1 - i;
          if (done[t]) continue;
          running = t;
          threadIdx = {t, 0, 0};
          swapcontext(&scheduler, &fibers[t]);
          finished += done[t];
        }
        if (finished != 0 && finished != left) diverged = 1;
        left -= finished;
      }
    }
  free(stacks);
  free(fibers);
  free(done);
  return diverged;
}
