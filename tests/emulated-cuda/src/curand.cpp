// cuRAND: candle opens a generator with every device. Nothing here draws from it: all draws are keyed and of the project's own.
#include <cstdlib>
extern "C" {
int curandCreateGenerator(void **generator, int) {
  *generator = malloc(8);
  return 0;
}
int curandDestroyGenerator(void *generator) {
  free(generator);
  return 0;
}
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }
int curandSetGeneratorOffset(void *, unsigned long long) { return 0; }
int curandSetStream(void *, void *) { return 0; }
}
