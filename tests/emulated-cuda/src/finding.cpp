// Findings: what a GPU would not have told.
#include "emulated.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>

std::recursive_mutex device_lock;

void finding(const char *kind, const char *format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  fprintf(stderr, "emulated CUDA: %s: %s", kind, text);
  if (running.active)
    fprintf(stderr, "; kernel %s, block (%u, %u, %u), thread (%u, %u, %u)", running.kernel, running.at.x, running.at.y, running.at.z,
            running.of_block.x, running.of_block.y, running.of_block.z);
  fprintf(stderr, "\n");
  fflush(stderr);
  // the arenas would make an enormous core
  rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  abort();
}
