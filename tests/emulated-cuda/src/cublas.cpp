// cuBLAS: the products that candle asks for, in the precision that was asked for or better.
#include "library.h"

namespace {
struct Handle {
  void *stream = nullptr;
};
enum { F32 = 0, F64 = 1, BF16 = 14 };

// C = alpha op(A) op(B) + beta C, column-major, `T` stored and `S` summed in.
template <class T, class S>
int products(const char *name, void *handle, bool ta, bool tb, int m, int n, int k, S alpha, const T *a, int lda, long long sa, const T *b, int ldb, long long sb, S beta, T *c, int ldc, long long sc, int batch) {
  if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7;
  Call call(name, ((Handle *)handle)->stream);
  // A is (k, m) in the packed product's eyes: row-major C^T = op(B)^T op(A)^T
  std::vector<S> pa((size_t)k * m), pb((size_t)n * k), pc((size_t)n * m);
  for (int q = 0; q < batch; q++) {
    const T *aq = a + q * sa, *bq = b + q * sb;
    T *cq = c + q * sc;
    for (int i = 0; k > 0 && i < (ta ? m : k); i++) call.reads("an operand", aq + (long long)i * lda, sizeof(T) * (ta ? k : m));
    for (int i = 0; k > 0 && i < (tb ? k : n); i++) call.reads("an operand", bq + (long long)i * ldb, sizeof(T) * (tb ? n : k));
    for (int l = 0; l < k; l++)
      for (int i = 0; i < m; i++) pa[(size_t)l * m + i] = S(aq[ta ? l + (long long)i * lda : i + (long long)l * lda]);
    for (int j = 0; j < n; j++)
      for (int l = 0; l < k; l++) pb[(size_t)j * k + l] = S(bq[tb ? j + (long long)l * ldb : l + (long long)j * ldb]);
    product<S>(n, m, k, pb.data(), pa.data(), pc.data(), false);
    for (int j = 0; j < n; j++) {
      T *column = cq + (long long)j * ldc;
      if (beta != 0) call.reads("the result, which is added to", column, sizeof(T) * m);
      for (int i = 0; i < m; i++) {
        S old = beta != 0 ? beta * S(column[i]) : S(0);
        pc[(size_t)j * m + i] = alpha * pc[(size_t)j * m + i] + old;
      }
      call.writes("the result", column, sizeof(T) * m);
      for (int i = 0; i < m; i++) column[i] = T(pc[(size_t)j * m + i]);
    }
  }
  return 0;
}
} // namespace

extern "C" {
int cublasCreate_v2(void **handle) {
  current_device("cublasCreate");
  *handle = new Handle;
  return 0;
}
int cublasDestroy_v2(void *handle) {
  delete (Handle *)handle;
  return 0;
}
int cublasSetStream_v2(void *handle, void *stream) {
  ((Handle *)handle)->stream = stream;
  return 0;
}
int cublasSetPointerMode_v2(void *, int) { return 0; }
int cublasGetPointerMode_v2(void *, int *mode) {
  *mode = 0;
  return 0;
}
int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, long long sa, const void *b, int bt, int ldb, long long sb,
                               const void *beta, void *c, int ct, int ldc, long long sc, int batch, int compute, int) {
  if (at != bt || at != ct) return 15;
  // 68 is CUBLAS_COMPUTE_32F, the others round their operands
  const char *name = at == BF16 ? "cublas_gemm_bf16" : compute == 68 ? "cublas_gemm_f32" : "cublas_gemm_tf32";
  float by = *(const float *)alpha, keep = *(const float *)beta;
  if (at == F32) return products<float, float>(name, handle, ta, tb, m, n, k, by, (const float *)a, lda, sa, (const float *)b, ldb, sb, keep, (float *)c, ldc, sc, batch);
  if (at == BF16) return products<Bf16, float>(name, handle, ta, tb, m, n, k, by, (const Bf16 *)a, lda, sa, (const Bf16 *)b, ldb, sb, keep, (Bf16 *)c, ldc, sc, batch);
  return 15;
}
int cublasDgemmStridedBatched(void *handle, int ta, int tb, int m, int n, int k, const double *alpha, const double *a, int lda, long long sa, const double *b, int ldb, long long sb, const double *beta, double *c,
                              int ldc, long long sc, int batch) {
  return products<double, double>("cublas_gemm_f64", handle, ta, tb, m, n, k, *alpha, a, lda, sa, b, ldb, sb, *beta, c, ldc, sc, batch);
}
}
