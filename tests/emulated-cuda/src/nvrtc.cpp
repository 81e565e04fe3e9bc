// nvrtc: the host's compiler. The "PTX" of a program names its source, which is compiled here so that errors are nvrtc's.
#include "emulated.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

extern "C" int flat_compile(const char *source, char *library, size_t room, char *log, size_t log_room);

namespace {
struct Program {
  std::string source, ptx, log;
};
} // namespace

extern "C" {
int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
const char *nvrtcGetErrorString(int code) { return code == 0 ? "NVRTC_SUCCESS" : code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }
int nvrtcCreateProgram(void **out, const char *source, const char *, int, const char *const *, const char *const *) {
  *out = new Program{source, "", ""};
  return 0;
}
int nvrtcDestroyProgram(void **program) {
  delete (Program *)*program;
  *program = nullptr;
  return 0;
}
int nvrtcCompileProgram(void *handle, int, const char *const *) {
  LOCKED;
  auto *program = (Program *)handle;
  const char *named = getenv("FLAT_EMULATED_CACHE");
  std::string cache = named ? named : FLAT_EMULATED_HOME "/kernels";
  mkdir(cache.c_str(), 0777);
  std::string folder = cache + "/sources";
  mkdir(folder.c_str(), 0777);
  char name[32];
  snprintf(name, sizeof name, "/%016zx.cu", std::hash<std::string>{}(program->source));
  std::string path = folder + name, temporary = path + "." + std::to_string(getpid());
  if (FILE *file = fopen(temporary.c_str(), "w")) {
    fwrite(program->source.data(), 1, program->source.size(), file);
    fclose(file);
    rename(temporary.c_str(), path.c_str());
  }
  char library[4096], log[4096] = "";
  int rc = flat_compile(path.c_str(), library, sizeof library, log, sizeof log);
  program->log = log;
  program->ptx = "// emulated: " + path + "\n";
  return rc ? 6 : 0;
}
int nvrtcGetPTXSize(void *program, size_t *bytes) {
  *bytes = ((Program *)program)->ptx.size() + 1;
  return 0;
}
int nvrtcGetPTX(void *program, char *to) {
  strcpy(to, ((Program *)program)->ptx.c_str());
  return 0;
}
int nvrtcGetProgramLogSize(void *program, size_t *bytes) {
  *bytes = ((Program *)program)->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(void *program, char *to) {
  strcpy(to, ((Program *)program)->log.c_str());
  return 0;
}
}
