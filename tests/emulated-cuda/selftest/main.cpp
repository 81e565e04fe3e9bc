// The emulated device against faults planted on purpose: each must end the process with its words, and right programs must not.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

typedef uint64_t Address;
extern "C" {
int cuInit(unsigned), cuDeviceGet(int *, int), cuDevicePrimaryCtxRetain(void **, int), cuCtxSetCurrent(void *), cuCtxSynchronize();
int cuModuleLoadData(void **, const void *), cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int cuMemAllocAsync(Address *, size_t, void *), cuMemFreeAsync(Address, void *), cuMemHostAlloc(void **, size_t, unsigned);
int cuMemcpyHtoDAsync_v2(Address, const void *, size_t, void *), cuMemcpyDtoHAsync_v2(void *, Address, size_t, void *);
int cuStreamCreate(void **, unsigned), cuStreamWaitEvent(void *, void *, unsigned), cuStreamSynchronize(void *), cuStreamDestroy_v2(void *);
int cuEventCreate(void **, unsigned), cuEventRecord(void *, void *), cuEventSynchronize(void *);
int cuCtxCreate_v4(void);
}

namespace {
std::string ptx;
void *const own = (void *)2;
void *module, *contexts[2];

void use(int device) {
  cuCtxSetCurrent(contexts[device]);
  cuModuleLoadData(&module, ptx.c_str());
}
void launch(const char *name, Address x, Address y, uint64_t n, unsigned grid = 1, unsigned block = 64, void *stream = own, unsigned grid_y = 1) {
  void *f;
  if (cuModuleGetFunction(&f, module, name)) abort();
  void *args[] = {&x, &y, &n};
  cuLaunchKernel(f, grid, grid_y, 1, block, 1, 1, 0, stream, args, nullptr);
}
Address numbers(size_t n, void *stream = own) {
  Address at;
  if (cuMemAllocAsync(&at, 4 * n, stream)) abort();
  std::vector<float> ones(n, 1.0f);
  cuMemcpyHtoDAsync_v2(at, ones.data(), 4 * n, stream);
  return at;
}
Address room(size_t n, void *stream = own) {
  Address at;
  if (cuMemAllocAsync(&at, 4 * n, stream)) abort();
  return at;
}
void expect(Address at, size_t i, float value) {
  std::vector<float> found(i + 1);
  cuMemcpyDtoHAsync_v2(found.data(), at, 4 * (i + 1), own);
  if (found[i] != value) {
    fprintf(stderr, "%g instead of %g\n", found[i], value);
    exit(3);
  }
}

struct Case {
  const char *name;
  const char *says; // empty: a right program
  std::function<void()> body;
};

// A stream that is not the thread's.
void *another() {
  void *s;
  cuStreamCreate(&s, 1);
  return s;
}

const std::vector<Case> CASES = {
    {"a kernel within its bounds", "", [] { Address x = numbers(100), y = room(100); launch("twice", x, y, 100, 2); expect(y, 99, 2); }},
    {"a sum with its barriers", "", [] { Address x = numbers(64), y = room(1); launch("sum_right", x, y, 64, 1); expect(y, 0, 64); }},
    {"atomic additions of all blocks", "", [] { Address x = numbers(1), y = numbers(1); launch("atomics", x, y, 1, 4); expect(y, 0, 257); }},
    {"a shuffle of two warps", "", [] { Address x = numbers(64), y = room(64); launch("shuffle", x, y, 64); expect(y, 63, 32); }},
    {"a stream that waits for an event", "", [] {
       void *s = another(), *e;
       Address x = numbers(64), y = room(64);
       cuEventCreate(&e, 0), cuEventRecord(e, own), cuStreamWaitEvent(s, e, 0);
       launch("twice", x, y, 64, 1, 64, s);
     }},
    {"a stream used after the host waited for the other", "", [] {
       void *s = another();
       Address x = numbers(64), y = room(64);
       cuStreamSynchronize(own);
       launch("twice", x, y, 64, 1, 64, s);
     }},
    {"memory of the size of another that was freed", "", [] {
       for (int i = 0; i < 600; i++) { Address x = numbers(1 << 16); cuMemFreeAsync(x, own); }
     }},
    {"a store out of bounds", "out of bounds: store", [] { launch("beyond", numbers(100), room(100), 100, 2); }},
    {"a load out of bounds", "out of bounds: load", [] { launch("load_beyond", numbers(100), room(100), 100, 2); }},
    {"an address that is no memory", "no device memory", [] { launch("nowhere", numbers(1), room(1), 1); }},
    {"a double at an address of four", "misaligned", [] { launch("misaligned", numbers(8), room(8), 1); }},
    {"a missing barrier within a loop", "race", [] { launch("sum_no_inner_barrier", numbers(64), room(1), 64, 2); }},
    {"no barrier at all", "shared memory", [] { launch("sum_no_barrier", numbers(64), room(1), 64, 2); }},
    {"shared memory that nobody wrote", "uninitialised read: load of 4 bytes of shared memory", [] { launch("shared_unset", numbers(64), room(1), 1); }},
    {"a barrier that half of a block leaves out", "diverged barrier", [] { launch("diverged", numbers(64), room(64), 1); }},
    {"blocks that write one place", "race", [] { launch("blocks_race", numbers(1), room(1), 1, 3); }},
    {"a block that reads what another writes", "race", [] { launch("blocks_read", numbers(1), numbers(64), 1, 3); }},
    {"a read of memory that nobody wrote", "uninitialised read: load", [] { launch("twice", room(64), room(64), 64); }},
    {"one unwritten element of memory that was used before", "uninitialised read: load", [] {
       // the quarantine of freed memory is passed, so that an allocation gets memory that was written
       Address first = 0, x = 0;
       for (int i = 0; i < 600; i++) {
         x = numbers(1 << 16);
         if (i == 0) first = x;
         if (i > 0 && x == first) break;
         cuMemFreeAsync(x, own);
       }
       if (x != first) exit(5);
       cuMemFreeAsync(x, own);
       do {
         x = room(1 << 16);
         if (x != first) cuMemFreeAsync(x, own);
       } while (x != first);
       std::vector<float> ones(1 << 16, 1.0f);
       cuMemcpyHtoDAsync_v2(x, ones.data(), 4 * 999, own);
       cuMemcpyHtoDAsync_v2(x + 4 * 1000, ones.data(), 4 * (ones.size() - 1000), own);
       launch("twice", x, room(1 << 16), 1 << 16, 1 << 10);
     }},
    {"a copy to the host of memory that nobody wrote", "uninitialised read: a copy", [] { expect(room(4), 3, 0); }},
    {"a use after free", "use after free", [] { Address x = numbers(64); cuMemFreeAsync(x, own); launch("twice", x, room(64), 64); }},
    {"a second free", "double free", [] { Address x = numbers(64); cuMemFreeAsync(x, own); cuMemFreeAsync(x, own); }},
    {"a free of what was not allocated", "bad free", [] { cuMemFreeAsync(numbers(64) + 4, own); }},
    {"a stream that does not wait", "wrong stream", [] { Address x = numbers(64), y = room(64); launch("twice", x, y, 64, 1, 64, another()); }},
    {"a free while another stream reads", "wrong stream", [] {
       void *s = another();
       Address x = numbers(64), y = room(64);
       cuStreamSynchronize(own);
       launch("twice", x, y, 64, 1, 64, s);
       cuMemFreeAsync(x, own);
     }},
    {"a stream that was destroyed", "wrong stream", [] { void *s = another(); cuStreamDestroy_v2(s); launch("twice", numbers(64), room(64), 64, 1, 64, s); }},
    {"memory of another device", "wrong context", [] { Address x = numbers(64); use(1); launch("twice", x, room(64), 64); }},
    {"a kernel of another device", "wrong context", [] { Address x = numbers(64), y = room(64); cuCtxSetCurrent(contexts[1]); launch("twice", x, y, 64); }},
    {"a thread without a context", "wrong context", [] { cuCtxSetCurrent(nullptr); numbers(4); }},
    {"a grid of 65,536 in y", "bad launch", [] { launch("twice", numbers(64), room(64), 64, 1, 64, own, 65536); }},
    {"a block of 1,025 threads", "bad launch", [] { launch("twice", numbers(64), room(64), 64, 1, 1025); }},
    {"more threads than 31 bits count", "bad launch", [] { launch("twice", numbers(64), room(64), 64, (1u << 31) / 64 + 1); }},
    {"a read of pinned memory before the host waited", "", [] {
       float *p;
       cuMemHostAlloc((void **)&p, 4, 0);
       cuMemcpyDtoHAsync_v2(p, numbers(1), 4, own);
       if (*p == 1.0f) exit(3);
       cuStreamSynchronize(own);
       if (*p != 1.0f) exit(4);
     }},
    {"a function that is not emulated", "not emulated: cuCtxCreate_v4", [] { cuCtxCreate_v4(); }},
};

// Whether a case ends as it must; its words on the standard error are looked through.
bool holds(const Case &one) {
  int ends[2];
  if (pipe(ends)) abort();
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    setenv("FLAT_EMULATED_DEVICES", "2", 1);
    cuInit(0);
    for (int d = 0; d < 2; d++) cuDevicePrimaryCtxRetain(&contexts[d], d);
    use(0);
    one.body();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) said.append(part, n);
  close(ends[0]);
  int status;
  waitpid(child, &status, 0);
  bool found = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  bool right = *one.says ? found && said.find(one.says) != std::string::npos : WIFEXITED(status) && WEXITSTATUS(status) == 0;
  printf("%s: %s%s%s\n", right ? "ok" : "FAILED", one.name, said.empty() ? "" : " -> ", said.substr(0, said.find('\n')).c_str());
  return right;
}
} // namespace

int main(int, char **argv) {
  ptx = std::string("// emulated: ") + argv[1] + "\n";
  setvbuf(stdout, nullptr, _IONBF, 0);
  int failed = 0;
  for (const Case &one : CASES) failed += !holds(one);
  printf("%zu cases, %d failed\n", CASES.size(), failed);
  return failed != 0;
}
