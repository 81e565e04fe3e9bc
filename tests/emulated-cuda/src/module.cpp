// Modules and launches. The "PTX" of a module names a source, which is compiled for the host once and kept.
#include "emulated.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fstream>
#include <link.h>
#include <map>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

// what a library of kernels holds: see include/device.h
struct Kernel {
  const char *name;
  Entry entry;
};

namespace {
struct Function {
  std::string name;
  Entry entry;
  Image image;
  int device;
};
struct Module {
  std::map<std::string, Function> functions;
};

std::string contents(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

uint64_t hash(const std::string &text, uint64_t h = 0xcbf29ce484222325ull) {
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3ull;
  return h;
}

// A source with the headers beside it, and what it is compiled with.
uint64_t key_of(const std::string &source) {
  uint64_t key = hash(contents(source), hash(FLAT_EMULATED_VERSION));
  std::string folder = source.substr(0, source.rfind('/'));
  std::vector<std::string> headers;
  if (DIR *dir = opendir(folder.c_str())) {
    while (dirent *entry = readdir(dir)) {
      std::string name = entry->d_name;
      if (name.size() > 4 && name.substr(name.size() - 4) == ".cuh") headers.push_back(name);
    }
    closedir(dir);
  }
  std::sort(headers.begin(), headers.end());
  for (auto &name : headers) key = hash(contents(folder + "/" + name), key);
  return key;
}

std::string setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

Image image_of(void *library) {
  link_map *map;
  dlinfo(library, RTLD_DI_LINKMAP, &map);
  struct Search {
    Address base;
    Image found;
  } search = {map->l_addr, {~0ull, 0, ~0ull, 0}};
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *data) {
        auto *s = (Search *)data;
        if (info->dlpi_addr != s->base) return 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto &p = info->dlpi_phdr[i];
          if (p.p_type != PT_LOAD) continue;
          Address begin = info->dlpi_addr + p.p_vaddr, end = begin + p.p_memsz;
          s->found.begin = std::min(s->found.begin, begin);
          s->found.end = std::max(s->found.end, end);
          if (!(p.p_flags & PF_W)) continue;
          s->found.writable = std::min(s->found.writable, begin);
          s->found.writable_end = std::max(s->found.writable_end, end);
        }
        return 1;
      },
      &search);
  return search.found;
}
} // namespace

// The library of a source; empty and with the compiler's words in `log` where it does not compile.
extern "C" int flat_compile(const char *source, char *library, size_t room, char *log, size_t log_room) {
  std::string cache = setting("FLAT_EMULATED_CACHE", FLAT_EMULATED_HOME "/kernels");
  mkdir(cache.c_str(), 0777);
  char name[32];
  snprintf(name, sizeof name, "/%016lx", (unsigned long)key_of(source));
  std::string path = cache + name + ".so";
  snprintf(library, room, "%s", path.c_str());
  if (access(path.c_str(), R_OK) == 0) return 0;
  std::string errors = cache + name + "." + std::to_string(getpid()) + ".log";
  std::string command = "LD_LIBRARY_PATH= '" + setting("FLAT_EMULATED_COMPILE", FLAT_EMULATED_SOURCE "/compile") + "' '" + source + "' '" + path + "' >'" + errors + "' 2>&1";
  int rc = system(command.c_str());
  snprintf(log, log_room, "%s", contents(errors).c_str());
  unlink(errors.c_str());
  return rc;
}

extern "C" {
int cuModuleLoadData(void **out, const void *ptx) {
  LOCKED;
  int device = current_device("cuModuleLoadData");
  const char *mark = "// emulated: ";
  if (strncmp((const char *)ptx, mark, strlen(mark)) != 0) finding("not emulated", "a module that the emulated nvcc or nvrtc did not make: %.60s", (const char *)ptx);
  std::string source = (const char *)ptx + strlen(mark);
  source = source.substr(0, source.find('\n'));
  char library[4096], log[4096];
  if (flat_compile(source.c_str(), library, sizeof library, log, sizeof log)) finding("not compiled", "%s: %.900s", source.c_str(), log);
  void *open = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!open) finding("not loaded", "%s", dlerror());
  auto *module = new Module;
  Image image = image_of(open);
  for (auto *kernel = (const Kernel *)dlsym(open, "flat_kernels"); kernel && kernel->name; kernel++)
    module->functions[kernel->name] = {kernel->name, kernel->entry, image, device};
  *out = module;
  return 0;
}
int cuModuleUnload(void *) { return 0; }
int cuModuleGetFunction(void **out, void *module, const char *name) {
  LOCKED;
  auto &functions = ((Module *)module)->functions;
  auto it = functions.find(name);
  if (it == functions.end()) return 500;
  *out = &it->second;
  return 0;
}
int cuFuncSetAttribute(void *, int, int) { return 0; }
int cuFuncGetAttribute(int *value, int, void *) {
  *value = 0;
  return 0;
}

int cuLaunchKernel(void *handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **args, void **) {
  LOCKED;
  auto *f = (Function *)handle;
  uint64_t threads = (uint64_t)bx * by * bz;
  if (gx == 0 || gy == 0 || gz == 0 || threads == 0 || threads > 1024 || bz > 64 || gx > 2147483647u || gy > 65535 || gz > 65535 || shared > 49152)
    finding("bad launch", "kernel %s: grid (%u, %u, %u), block (%u, %u, %u), %u bytes of shared memory", f->name.c_str(), gx, gy, gz, bx, by, bz, shared);
  if ((uint64_t)gx * bx > 1ull << 31)
    finding("bad launch", "kernel %s: %u blocks of %u threads, whose numbers do not fit into 31 bits", f->name.c_str(), gx, bx);
  unsigned s = stream_of(stream);
  if (f->device != device_of_stream(s)) finding("wrong context", "kernel %s of device %d launched on device %d", f->name.c_str(), f->device, device_of_stream(s));
  count(LAUNCHES);
  count_kernel(f->name);
  running.op = begin_operation(s, f->name.c_str());
  running.kernel = f->name.c_str();
  running.device = f->device;
  enter_image(f->image);
  run_grid(f->entry, args, {gx, gy, gz}, {bx, by, bz});
  return 0;
}
}
