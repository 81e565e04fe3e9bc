// Devices, contexts and errors. The environment tells what there is: FLAT_EMULATED_DEVICES (1), FLAT_EMULATED_MEMORY_MIB
// (16384), FLAT_EMULATED_DRIVER (13000), FLAT_EMULATED_INIT (what cuInit answers, 0).
#include "emulated.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {
thread_local int device_here = -1;
long setting(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value ? atol(value) : otherwise;
}
struct Error {
  int code;
  const char *name, *text;
};
const Error ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
} // namespace

int devices() { return (int)setting("FLAT_EMULATED_DEVICES", 1); }

int current_device(const char *call) {
  if (device_here < 0) finding("wrong context", "%s in a thread without a context", call);
  return device_here;
}

extern "C" {
int cuInit(unsigned) { return setting("FLAT_EMULATED_INIT", devices() == 0 ? 100 : 0); }
int cuDriverGetVersion(int *version) {
  *version = setting("FLAT_EMULATED_DRIVER", 13000);
  return 0;
}
int cuDeviceGetCount(int *n) {
  *n = devices();
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  if (ordinal < 0 || ordinal >= devices() || ordinal >= MOST_DEVICES) return 101;
  *device = ordinal;
  return 0;
}
int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, length, "emulated device %d", device);
  return 0;
}
int cuDeviceGetUuid_v2(char *uuid, int device) {
  memset(uuid, 0xe0 + device, 16);
  return 0;
}
int cuDeviceGetUuid(char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
int cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = memory_total();
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
  case 1: case 2: case 3: *value = 1024; break; // threads of a block, and its sides
  case 4: *value = 64; break;
  case 5: *value = 2147483647; break; // grid
  case 6: case 7: *value = 65535; break;
  case 8: *value = 49152; break;
  case 10: *value = 32; break;
  case 16: *value = 132; break;
  case 33: *value = 1 + device; break; // PCI bus
  case 34: case 50: *value = 0; break;
  case 75: *value = 9; break; // compute capability 9.0
  case 76: *value = 0; break;
  default: *value = 1; // memory pools and the like
  }
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = (void *)(uintptr_t)(0x1000 + device);
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxGetCurrent(void **context) {
  *context = device_here < 0 ? nullptr : (void *)(uintptr_t)(0x1000 + device_here);
  return 0;
}
int cuCtxSetCurrent(void *context) {
  device_here = context ? int((uintptr_t)context - 0x1000) : -1;
  return 0;
}
int cuCtxGetDevice(int *device) {
  if (device_here < 0) return 201;
  *device = device_here;
  return 0;
}
int cuCtxSetFlags(unsigned) { return 0; }
int cuGetErrorName(int code, const char **name) {
  for (const Error &e : ERRORS)
    if (e.code == code) return *name = e.name, 0;
  *name = nullptr;
  return 1;
}
int cuGetErrorString(int code, const char **text) {
  for (const Error &e : ERRORS)
    if (e.code == code) return *text = e.text, 0;
  *text = nullptr;
  return 1;
}
// What the stubs of the functions that are not here call.
int flat_missing(const char *name) { finding("not emulated", "%s: write it into tests/emulated-cuda/src", name); }
}
