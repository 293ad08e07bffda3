/* C = A B in three loops, in an order that can be chosen, tile by tile.

   As it stands one tile covers everything and the order is the plain one. A comment that starts with "tune:" says what
   its constant may become. */

#include <stddef.h>

enum {
    /* 0: dot products of a row and a column; 1: rows of b, scaled, onto a row of c; 2: the same, all rows in turn */
    ORDER = 0, // tune: one of 0, 1, 2
    TILE_N = 1024, // tune: one of 4, 8, 16, 32, 64, 128, 1024
    TILE_M = 1024, // tune: one of 16, 32, 64, 128, 256, 512, 1024
    TILE_K = 1024, // tune: one of 4, 8, 16, 32, 64, 128, 256, 1024
    UNROLL_DOT = 1, // tune: one of 1, 2, 4, 8, 16
    UNROLL_ROWS = 1, // tune: one of 1, 2, 4, 8
    UNROLL_DEPTH = 1 // tune: one of 1, 2, 4, 8
};

static int smaller(int one, int other) { return one < other ? one : other; }

/* Adds to c, n rows of m, the product of a and b; the rows of b and c are `across` apart, those of a are `along`. */
static void tile(const float *restrict a, const float *restrict b, float *restrict c, int n, int m, int k,
                 size_t along, size_t across) {
    if (ORDER == 0) {
        for (int i = 0; i < n; i++)
            for (int j = 0; j < m; j++) {
                float sum = c[i * across + j];
#pragma GCC unroll UNROLL_DOT
                for (int p = 0; p < k; p++) sum += a[i * along + p] * b[p * across + j];
                c[i * across + j] = sum;
            }
    } else if (ORDER == 1) {
#pragma GCC unroll UNROLL_ROWS
        for (int i = 0; i < n; i++)
#pragma GCC unroll UNROLL_DEPTH
            for (int p = 0; p < k; p++) {
                float scale = a[i * along + p];
                for (int j = 0; j < m; j++) c[i * across + j] += scale * b[p * across + j];
            }
    } else {
#pragma GCC unroll UNROLL_DEPTH
        for (int p = 0; p < k; p++)
#pragma GCC unroll UNROLL_ROWS
            for (int i = 0; i < n; i++) {
                float scale = a[i * along + p];
                for (int j = 0; j < m; j++) c[i * across + j] += scale * b[p * across + j];
            }
    }
}

void matmul(const float *a, const float *b, float *c, int n, int m, int k) {
    size_t along = (size_t)k, across = (size_t)m;
    for (size_t i = 0; i < (size_t)n * across; i++) c[i] = 0.0f;
    for (int i = 0; i < n; i += TILE_N)
        for (int p = 0; p < k; p += TILE_K)
            for (int j = 0; j < m; j += TILE_M)
                tile(a + i * along + p, b + p * across + j, c + i * across + j, smaller(TILE_N, n - i),
                     smaller(TILE_M, m - j), smaller(TILE_K, k - p), along, across);
}
