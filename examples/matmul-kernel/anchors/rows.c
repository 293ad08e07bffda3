/* The inner loop runs along rows of b and c, which a compiler vectorises. */

#include <stddef.h>

void matmul(const float *a, const float *b, float *c, int n, int m, int k) {
    for (size_t i = 0; i < (size_t)n; i++) {
        float *restrict row = c + i * m;
        for (int j = 0; j < m; j++) row[j] = 0.0f;
        for (size_t p = 0; p < (size_t)k; p++) {
            const float *restrict other = b + p * m;
            float scale = a[i * k + p];
            for (int j = 0; j < m; j++) row[j] += scale * other[j];
        }
    }
}
