/* C = A B by the plain triple loop: what is right, and the baseline of every speedup. */

#include <stddef.h>

void matmul(const float *a, const float *b, float *c, int n, int m, int k) {
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t j = 0; j < (size_t)m; j++) {
            float sum = 0.0f;
            for (size_t p = 0; p < (size_t)k; p++) sum += a[i * k + p] * b[p * m + j];
            c[i * m + j] = sum;
        }
}
