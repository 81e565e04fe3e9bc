// Counts of what the device was asked to do, as JSON in the file that FLAT_EMULATED_COUNTS names (%p is the process).
#include "emulated.h"
#include <cstdio>
#include <cstdlib>
#include <map>
#include <unistd.h>

namespace {
const char *const NAMES[COUNTS] = {"launches", "library_calls", "htod", "htod_bytes", "dtoh", "dtoh_bytes", "dtod", "dtod_bytes", "memsets",
                                   "allocations", "allocated_bytes", "events", "host_syncs", "algorithm_queries"};
uint64_t counts[COUNTS];
std::map<std::string, uint64_t> &kernels() {
  static auto *all = new std::map<std::string, uint64_t>;
  return *all;
}
struct Report {
  ~Report() {
    const char *to = getenv("FLAT_EMULATED_COUNTS");
    if (!to) return;
    std::string path = to;
    size_t at = path.find("%p");
    if (at != std::string::npos) path.replace(at, 2, std::to_string(getpid()));
    FILE *out = fopen(path.c_str(), "w");
    if (!out) return;
    fprintf(out, "{");
    for (int i = 0; i < COUNTS; i++) fprintf(out, "\"%s\": %lu, ", NAMES[i], (unsigned long)counts[i]);
    fprintf(out, "\"kernels\": {");
    const char *between = "";
    for (auto &one : kernels()) fprintf(out, "%s\"%s\": %lu", between, one.first.c_str(), (unsigned long)one.second), between = ", ";
    fprintf(out, "}}\n");
    fclose(out);
  }
} report;
} // namespace

void count(Count what, uint64_t by) { counts[what] += by; }
void count_kernel(const std::string &name) { kernels()[name]++; }
