// cuDNN: the three passes of a convolution of contiguous images, and heuristics that put an algorithm first which adds in an
// order of chance, and second one that does not support the shape.
#include "library.h"

namespace {
enum { SUCCESS = 0, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
enum { F32 = 0, F64 = 1, BF16 = 9 };
struct Handle {
  void *stream = nullptr;
};
struct Tensor {
  int type, n, c, h, w;
  size_t count() const { return (size_t)n * c * h * w; }
  size_t bytes() const { return count() * (type == F64 ? 8 : type == BF16 ? 2 : 4); }
};
struct Convolution {
  int padding, stride, mode, type, math;
};
struct Algorithm {
  int algorithm, status;
  float time;
  size_t memory;
  int deterministic, math, reserved[3];
};
struct Choice {
  int algorithm, status, deterministic;
};
const Choice FORWARD[] = {{6, NOT_SUPPORTED, 1}, {1, SUCCESS, 1}, {0, SUCCESS, 1}};
const Choice DATA[] = {{0, SUCCESS, 0}, {5, NOT_SUPPORTED, 1}, {1, SUCCESS, 1}};
const Choice FILTER[] = {{3, SUCCESS, 0}, {0, SUCCESS, 0}, {5, NOT_SUPPORTED, 1}, {1, SUCCESS, 1}};
constexpr size_t WORKSPACE = 1 << 10;

template <size_t N> int choose(const Choice (&choices)[N], int room, int *got, Algorithm *to, const Convolution *c) {
  count(ALGORITHM_QUERIES);
  *got = 0;
  for (const Choice &one : choices)
    if (*got < room) to[(*got)++] = {one.algorithm, one.status, 1.0f, WORKSPACE, one.deterministic, c->math, {}};
  return SUCCESS;
}

template <size_t N> void allowed(const Choice (&choices)[N], int algorithm) {
  for (const Choice &one : choices)
    if (one.algorithm == algorithm) {
      if (!one.deterministic) finding("order of chance", "a convolution by algorithm %d, whose sums have no order", algorithm);
      if (one.status != SUCCESS) finding("not supported", "a convolution by algorithm %d, which does not support it", algorithm);
      return;
    }
}

bool fits(const Tensor *x, const Tensor *w, const Convolution *c, const Tensor *y) {
  int h = (x->h + 2 * c->padding - w->h) / c->stride + 1, width = (x->w + 2 * c->padding - w->w) / c->stride + 1;
  return x->n == y->n && w->n == y->c && w->c == x->c && y->h == h && y->w == width && x->type == w->type && x->type == y->type && c->type == (x->type == F64 ? F64 : F32);
}
bool plain(const void *alpha, const void *beta, int type) {
  return type == F64 ? *(const double *)alpha == 1 && *(const double *)beta == 0 : *(const float *)alpha == 1 && *(const float *)beta == 0;
}

// An image as a matrix of windows (channels * kernel, pixels of y).
template <class S> void windows(const S *x, const Tensor *xd, const Tensor *w, const Convolution *c, const Tensor *y, S *out) {
  for (int ch = 0; ch < xd->c; ch++)
    for (int a = 0; a < w->h; a++)
      for (int b = 0; b < w->w; b++)
        for (int i = 0; i < y->h; i++)
          for (int j = 0; j < y->w; j++) {
            int r = i * c->stride + a - c->padding, s = j * c->stride + b - c->padding;
            *out++ = r < 0 || s < 0 || r >= xd->h || s >= xd->w ? S(0) : x[((size_t)ch * xd->h + r) * xd->w + s];
          }
}

template <class T, class S> struct Passes {
  const Tensor *xd, *wd, *yd;
  const Convolution *c;
  size_t k() const { return (size_t)wd->c * wd->h * wd->w; }
  size_t pixels() const { return (size_t)yd->h * yd->w; }
  static std::vector<S> load(const void *p, const Tensor *d) {
    const T *from = (const T *)p;
    return std::vector<S>(from, from + d->count());
  }
  static void store(const std::vector<S> &from, void *p) {
    for (size_t i = 0; i < from.size(); i++) ((T *)p)[i] = T(from[i]);
  }
  void forward(const void *x, const void *w, void *y) const {
    auto xs = load(x, xd), ws = load(w, wd);
    std::vector<S> columns(k() * pixels()), out(yd->count());
    for (int n = 0; n < xd->n; n++) {
      windows(&xs[(size_t)n * xd->c * xd->h * xd->w], xd, wd, c, yd, columns.data());
      product<S>(yd->c, pixels(), k(), ws.data(), columns.data(), &out[(size_t)n * yd->c * pixels()], false);
    }
    store(out, y);
  }
  void data(const void *w, const void *dy, void *dx) const {
    auto ws = load(w, wd), gs = load(dy, yd);
    std::vector<S> turned(k() * yd->c), columns(k() * pixels()), out(xd->count(), S(0));
    for (int o = 0; o < yd->c; o++)
      for (size_t l = 0; l < k(); l++) turned[l * yd->c + o] = ws[o * k() + l];
    for (int n = 0; n < xd->n; n++) {
      product<S>(k(), pixels(), yd->c, turned.data(), &gs[(size_t)n * yd->c * pixels()], columns.data(), false);
      S *image = &out[(size_t)n * xd->c * xd->h * xd->w];
      const S *from = columns.data();
      for (int ch = 0; ch < xd->c; ch++)
        for (int a = 0; a < wd->h; a++)
          for (int b = 0; b < wd->w; b++)
            for (int i = 0; i < yd->h; i++)
              for (int j = 0; j < yd->w; j++, from++) {
                int r = i * c->stride + a - c->padding, s = j * c->stride + b - c->padding;
                if (r >= 0 && s >= 0 && r < xd->h && s < xd->w) image[((size_t)ch * xd->h + r) * xd->w + s] += *from;
              }
    }
    store(out, dx);
  }
  void filter(const void *x, const void *dy, void *dw) const {
    auto xs = load(x, xd), gs = load(dy, yd);
    std::vector<S> columns(k() * pixels()), turned(k() * pixels()), out(wd->count(), S(0));
    for (int n = 0; n < xd->n; n++) {
      windows(&xs[(size_t)n * xd->c * xd->h * xd->w], xd, wd, c, yd, columns.data());
      for (size_t l = 0; l < k(); l++)
        for (size_t p = 0; p < pixels(); p++) turned[p * k() + l] = columns[l * pixels() + p];
      product<S>(yd->c, k(), pixels(), &gs[(size_t)n * yd->c * pixels()], turned.data(), out.data(), true);
    }
    store(out, dw);
  }
};

template <class F> void by_type(const Tensor *x, const Tensor *w, const Convolution *c, const Tensor *y, F f) {
  if (x->type == F64) f(Passes<double, double>{x, w, y, c});
  else if (x->type == BF16) f(Passes<Bf16, float>{x, w, y, c});
  else f(Passes<float, float>{x, w, y, c});
}
const char *name_of(const char *const names[4], const Tensor *x, const Convolution *c) {
  // math 3 is CUDNN_FMA_MATH; the default may round f32 to tf32
  return names[x->type == F64 ? 0 : x->type == BF16 ? 1 : c->math == 3 ? 2 : 3];
}
bool workspace(const Call &call, void *p, size_t bytes) {
  if (bytes < WORKSPACE) return false;
  call.writes("the workspace", p, WORKSPACE);
  return true;
}
// What a pass reads and writes: where it may, and at addresses that the kernels of tensor cores take.
void operands(const Call &call, const char *a, const void *pa, const Tensor *da, const char *b, const void *pb, const Tensor *db, const char *to, void *p, const Tensor *d) {
  check_aligned(a, pa), check_aligned(b, pb), check_aligned(to, p);
  call.reads(a, pa, da->bytes()), call.reads(b, pb, db->bytes()), call.writes(to, p, d->bytes());
}
int made(void **out, void *p) {
  *out = p;
  return SUCCESS;
}
} // namespace

extern "C" {
size_t cudnnGetVersion() { return 91900; }
const char *cudnnGetErrorString(int code) { return code == 0 ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_BAD_PARAM"; }
int cudnnCreate(void **h) { return made(h, new Handle); }
int cudnnDestroy(void *h) { return delete (Handle *)h, SUCCESS; }
int cudnnSetStream(void *h, void *stream) { return ((Handle *)h)->stream = stream, SUCCESS; }
int cudnnCreateTensorDescriptor(void **d) { return made(d, new Tensor); }
int cudnnDestroyTensorDescriptor(void *d) { return delete (Tensor *)d, SUCCESS; }
int cudnnSetTensor4dDescriptor(void *d, int format, int type, int n, int c, int h, int w) { return format != 0 ? NOT_SUPPORTED : (*(Tensor *)d = {type, n, c, h, w}, SUCCESS); }
int cudnnCreateFilterDescriptor(void **d) { return made(d, new Tensor); }
int cudnnDestroyFilterDescriptor(void *d) { return delete (Tensor *)d, SUCCESS; }
int cudnnSetFilter4dDescriptor(void *d, int type, int format, int k, int c, int h, int w) { return format != 0 ? NOT_SUPPORTED : (*(Tensor *)d = {type, k, c, h, w}, SUCCESS); }
int cudnnCreateConvolutionDescriptor(void **d) { return made(d, new Convolution); }
int cudnnDestroyConvolutionDescriptor(void *d) { return delete (Convolution *)d, SUCCESS; }
int cudnnSetConvolution2dDescriptor(void *d, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int type) {
  if (ph != pw || sh != sw || dh != 1 || dw != 1) return NOT_SUPPORTED;
  *(Convolution *)d = {ph, sh, mode, type, 0};
  return SUCCESS;
}
int cudnnSetConvolutionMathType(void *d, int math) { return ((Convolution *)d)->math = math, SUCCESS; }
int cudnnSetConvolutionGroupCount(void *, int groups) { return groups == 1 ? SUCCESS : NOT_SUPPORTED; }

int cudnnGetConvolutionForwardAlgorithm_v7(void *, Tensor *, Tensor *, Convolution *c, Tensor *, int n, int *got, Algorithm *to) { return choose(FORWARD, n, got, to, c); }
int cudnnGetConvolutionBackwardDataAlgorithm_v7(void *, Tensor *, Tensor *, Convolution *c, Tensor *, int n, int *got, Algorithm *to) { return choose(DATA, n, got, to, c); }
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void *, Tensor *, Tensor *, Convolution *c, Tensor *, int n, int *got, Algorithm *to) { return choose(FILTER, n, got, to, c); }
int cudnnGetConvolutionForwardWorkspaceSize(void *, Tensor *, Tensor *, Convolution *, Tensor *, int, size_t *n) { return *n = WORKSPACE, SUCCESS; }
int cudnnGetConvolutionBackwardDataWorkspaceSize(void *, Tensor *, Tensor *, Convolution *, Tensor *, int, size_t *n) { return *n = WORKSPACE, SUCCESS; }
int cudnnGetConvolutionBackwardFilterWorkspaceSize(void *, Tensor *, Tensor *, Convolution *, Tensor *, int, size_t *n) { return *n = WORKSPACE, SUCCESS; }

int cudnnConvolutionForward(void *h, const void *alpha, Tensor *xd, const void *x, Tensor *wd, const void *w, Convolution *c, int algorithm, void *room, size_t bytes, const void *beta, Tensor *yd, void *y) {
  const char *const names[] = {"cudnn_forward_f64", "cudnn_forward_bf16", "cudnn_forward_f32", "cudnn_forward_tf32"};
  Call call(name_of(names, xd, c), ((Handle *)h)->stream);
  allowed(FORWARD, algorithm);
  if (!fits(xd, wd, c, yd) || !plain(alpha, beta, xd->type) || !workspace(call, room, bytes)) return BAD_PARAM;
  operands(call, "x", x, xd, "w", w, wd, "y", y, yd);
  by_type(xd, wd, c, yd, [&](auto passes) { passes.forward(x, w, y); });
  return SUCCESS;
}
int cudnnConvolutionBackwardData(void *h, const void *alpha, Tensor *wd, const void *w, Tensor *yd, const void *dy, Convolution *c, int algorithm, void *room, size_t bytes, const void *beta, Tensor *xd, void *dx) {
  const char *const names[] = {"cudnn_data_f64", "cudnn_data_bf16", "cudnn_data_f32", "cudnn_data_tf32"};
  Call call(name_of(names, xd, c), ((Handle *)h)->stream);
  allowed(DATA, algorithm);
  if (!fits(xd, wd, c, yd) || !plain(alpha, beta, xd->type) || !workspace(call, room, bytes)) return BAD_PARAM;
  operands(call, "w", w, wd, "dy", dy, yd, "dx", dx, xd);
  by_type(xd, wd, c, yd, [&](auto passes) { passes.data(w, dy, dx); });
  return SUCCESS;
}
int cudnnConvolutionBackwardFilter(void *h, const void *alpha, Tensor *xd, const void *x, Tensor *yd, const void *dy, Convolution *c, int algorithm, void *room, size_t bytes, const void *beta, Tensor *wd, void *dw) {
  const char *const names[] = {"cudnn_filter_f64", "cudnn_filter_bf16", "cudnn_filter_f32", "cudnn_filter_tf32"};
  Call call(name_of(names, xd, c), ((Handle *)h)->stream);
  allowed(FILTER, algorithm);
  if (!fits(xd, wd, c, yd) || !plain(alpha, beta, xd->type) || !workspace(call, room, bytes)) return BAD_PARAM;
  operands(call, "x", x, xd, "dy", dy, yd, "dw", dw, wd);
  by_type(xd, wd, c, yd, [&](auto passes) { passes.filter(x, dy, dw); });
  return SUCCESS;
}
}
