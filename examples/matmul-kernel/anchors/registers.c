/* Panels of c stay in registers while the inner dimension passes by: ROWS x WIDTH sums, from a panel of b that was
   copied to where it lies in one piece (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication,
   ACM TOMS 34, 2008). */

#include <stddef.h>
#include <string.h>

enum { ROWS = 8, LANES = 16, VECTORS = 2, WIDTH = LANES * VECTORS, DEPTH = 256 };

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static float panel[DEPTH * WIDTH] __attribute__((aligned(64)));

static inline __attribute__((always_inline)) void multiply(const float *a, float *c, int rows, int width, int depth,
                                                            size_t along, size_t across) {
    vector sum[ROWS][VECTORS] = {{{0}}};
    for (int p = 0; p < depth; p++) {
        const vector *b = (const vector *)(panel + p * WIDTH);
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < VECTORS; v++) sum[i][v] += a[i * along + p] * b[v];
    }
    for (int i = 0; i < rows; i++) {
        float line[WIDTH];
        memcpy(line, sum[i], sizeof line);
        for (int j = 0; j < width; j++) c[i * across + j] += line[j];
    }
}

void matmul(const float *a, const float *b, float *c, int n, int m, int k) {
    size_t along = (size_t)k, across = (size_t)m;
    for (size_t i = 0; i < (size_t)n * across; i++) c[i] = 0.0f;
    for (int start = 0; start < k; start += DEPTH) {
        int depth = k - start < DEPTH ? k - start : DEPTH;
        for (int j = 0; j < m; j += WIDTH) {
            int width = m - j < WIDTH ? m - j : WIDTH;
            for (int p = 0; p < depth; p++)
                for (int l = 0; l < WIDTH; l++) panel[p * WIDTH + l] = l < width ? b[(start + p) * across + j + l] : 0.0f;
            int i = 0;
            for (; i + ROWS <= n; i += ROWS)
                multiply(a + i * along + start, c + i * across + j, ROWS, width, depth, along, across);
            for (; i < n; i++) multiply(a + i * along + start, c + i * across + j, 1, width, depth, along, across);
        }
    }
}
