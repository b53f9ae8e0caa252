/* A Q-network's convolutions in bfloat16, forward and backward, for CPUs with AMX.
 *
 * bfloat16.py compiles this file for one network and calls it. Weights come as for convolutions.c and
 * are rounded at each call; sums are float32, and so are biases and gradients.
 *
 *     forward    y[pixel][f]   = relu(bias[f] + sum_k x(pixel, k) w[k][f])
 *     backward   dw[f][k]     += sum_pixel dy[pixel][f] x(pixel, k)
 *                dx(pixel, k) += sum_f dy[pixel][f] w[k][f]
 *
 * x(pixel, k) is the k-th of the inputs under a filter at an output pixel. Images are [row][column]
 * [channel], and k has that order, too. The first layer's inputs are bytes, which bfloat16 holds
 * exactly; their scale, 1/255, is that of its weights. Pixels are filled up to a multiple of 32.
 */
#include <immintrin.h>
#include <omp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef unsigned short BFloat16;
typedef union {
    float number;
    unsigned bits; /* bfloat16 is the higher half */
} Bits;

#define INLINE static inline __attribute__((always_inline)) /* so that shapes become constants */

/* A layer: filters of size x size inputs; rows and columns of the output. */
typedef struct {
    int first, channels, height, width, filters, size, stride, rows, columns;
} Layer;

/* native.py defines LAYERS and, for each layer i, LAYER_i as a LAYER(...). */
#define LAYER(first, channels, height, width, filters, size, stride)           \
    {first, channels, height, width, filters, size, stride,                    \
     (height - size) / stride + 1, (width - size) / stride + 1}
#ifndef LAYER_2
#define LAYER_2
#endif
static const Layer layers[] = {LAYER_0, LAYER_1, LAYER_2};
#define UNROLL _Pragma("GCC unroll 3")
#define EACH_LAYER(l) UNROLL for (const Layer *l = layers; l < layers + LAYERS; l++)

INLINE int run(const Layer *l) { return l->size * l->channels; } /* inputs side by side in a row */
INLINE int fan_in(const Layer *l) { return l->size * run(l); }
INLINE int inputs(const Layer *l) { return l->height * l->width * l->channels; }
INLINE int pixels(const Layer *l) { return (l->rows * l->columns + 31) / 32 * 32; } /* filled up */
INLINE int outputs(const Layer *l) { return pixels(l) * l->filters; }
INLINE int weights(const Layer *l) { return fan_in(l) * l->filters; }
INLINE int parameters(const Layer *l) { return weights(l) + l->filters; }

static long all(int (*number)(const Layer *)) {
    long sum = 0;
    EACH_LAYER(l) sum += number(l);
    return sum;
}

/* How many numbers of bfloat16 are kept of a state, are in all weights, and a thread needs. */
long kept_size(void) { return inputs(layers) + all(outputs); }
long weights_size(void) { return all(weights); }
long scratch_size(void) { return 6 * all(outputs); }

/* Ask Linux for AMX; 0: granted. */
int prepare(void) { return (int)syscall(SYS_arch_prctl, 0x1023, 18); }

/* Eight tiles of 16 rows of 64 bytes: for the calling thread, until _tile_release. */
static void configure(void) {
    struct {
        unsigned char palette, start, reserved[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
    _tile_loadconfig(&config);
}

/* sums[i][j] (if `add`, +=) = sum_k a[i][k] b[k][j]; i < m and j < n, multiples of 16; k < depth, a
 * multiple of 32. The rows of sums are `line` numbers apart; b is [k / 2][j][2]. */
INLINE void multiply(int m, int n, int depth, const BFloat16 *a, const BFloat16 *b, float *sums, int line,
                     int add) {
#define EACH_TILE(do)                                                                          \
    do(0, upper);                                                                              \
    if (more_n) do(1, upper + 16);                                                             \
    if (more_m) do(2, lower);                                                                  \
    if (more_m && more_n) do(3, lower + 16);
#define LOAD(t, at) _tile_loadd(t, at, 4 * line)
#define STORE(t, at) _tile_stored(t, at, 4 * line)
#define ZERO(t, at) _tile_zero(t)
    for (int i = 0; i < m; i += 32)
        for (int j = 0; j < n; j += 32) {
            const int more_m = i + 16 < m, more_n = j + 16 < n;
            float *upper = sums + (long)i * line + j, *lower = upper + 16 * line;
            if (add) {
                EACH_TILE(LOAD)
            } else {
                EACH_TILE(ZERO)
            }
            for (int k = 0; k < depth; k += 32) {
                const BFloat16 *left = a + (long)i * depth + k, *right = b + (long)k * n + 2 * j;
                _tile_loadd(4, left, 2 * depth);
                _tile_loadd(6, right, 4 * n);
                _tile_dpbf16ps(0, 4, 6);
                if (more_n) _tile_loadd(7, right + 32, 4 * n);
                if (more_n) _tile_dpbf16ps(1, 4, 7);
                if (more_m) _tile_loadd(5, left + 16 * depth, 2 * depth);
                if (more_m) _tile_dpbf16ps(2, 5, 6);
                if (more_m && more_n) _tile_dpbf16ps(3, 5, 7);
            }
            EACH_TILE(STORE)
        }
}

/* Where the k-th input of a filter is among its weights; the first layer's are [channel][row][column]. */
INLINE int place(const Layer *l, int k) {
    return l->first ? k % l->channels * l->size * l->size + k / l->channels : k;
}

INLINE BFloat16 rounded(float number) { /* to the nearest; of two, to the even one */
    const unsigned bits = ((Bits){number}).bits;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Weights of all layers for `multiply`: [k / 2][f][2]; for the backward pass [f / 2][k][2]. */
static void pack(const float *const *arrays, BFloat16 *to, int backward) {
    EACH_LAYER(l) {
        const float scale = l->first ? 1 / 255.0f : 1;
        for (int k = 0; k < fan_in(l); k++) {
            const float *w = *arrays + place(l, k) * l->filters;
            for (int f = 0; f < l->filters; f++)
                if (backward)
                    to[f / 2 * 2 * fan_in(l) + 2 * k + f % 2] = rounded(scale * w[f]);
                else
                    to[k / 2 * 2 * l->filters + 2 * f + k % 2] = rounded(scale * w[f]);
        }
        arrays += 2, to += weights(l);
    }
}

/* Where the inputs of each pixel begin; those that fill up repeat the last one. */
INLINE void corners(const Layer *l, int *at) {
    for (int p = 0; p < pixels(l); p++) {
        const int pixel = p < l->rows * l->columns ? p : l->rows * l->columns - 1;
        at[p] = (pixel / l->columns * l->width + pixel % l->columns) * l->stride * l->channels;
    }
}

/* From at[pixel] on: where the k-th input of a filter is. */
INLINE int input(const Layer *l, int k) { return k / run(l) * l->width * l->channels + k % run(l); }

INLINE void forward_layer(const Layer *l, const BFloat16 *x, const BFloat16 *w, const float *bias,
                          BFloat16 *y) {
    int at[pixels(l)];
    BFloat16 patches[32 * fan_in(l)] __attribute__((aligned(64))); /* of 32 pixels */
    float sums[32 * l->filters] __attribute__((aligned(64)));
    corners(l, at);
    for (int first = 0; first < pixels(l); first += 32) {
        for (int k = 0; k < fan_in(l); k += 32)
            for (int p = 0, offset = input(l, k); p < 32; p++) {
                const __m512i numbers = _mm512_loadu_si512(x + at[first + p] + offset);
                _mm512_store_si512(patches + p * fan_in(l) + k, numbers);
            }
        multiply(32, l->filters, fan_in(l), patches, w, sums, l->filters, 0);
        for (int p = 0; p < 32; p++)
            for (int f = 0; f < l->filters; f += 16, y += 16) {
                const __m512 sum = _mm512_load_ps(sums + p * l->filters + f) + _mm512_loadu_ps(bias + f);
                const __m512 positive = _mm512_max_ps(sum, _mm512_setzero_ps());
                _mm256_storeu_si256((__m256i *)y, (__m256i)_mm512_cvtneps_pbh(positive));
            }
    }
}

/* The numbers of two rows in turn: of their first halves, or of their last. */
INLINE __m512i pairs(const BFloat16 *a, const BFloat16 *b, int last) {
    const __m512i places = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                            39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(a),
                                     _mm512_add_epi16(places, _mm512_set1_epi16(16 * last)),
                                     _mm512_loadu_si512(b));
}

/* Round dy where the ReLU's output y is above 0, else 0; the same turned; add up the biases' gradient.
 * columns: scratch. */
INLINE void through_relu(const Layer *l, const float *dy, const BFloat16 *y, BFloat16 *to,
                         BFloat16 *turned, BFloat16 *columns, float *dbias) {
    for (int p = 0; p < pixels(l); p++)
        for (int f = 0, at = p * l->filters; f < l->filters; f += 16, at += 16) {
            const __m256i output = _mm256_loadu_si256((const __m256i *)(y + at));
            const __m512 slope = _mm512_maskz_loadu_ps(_mm256_test_epi16_mask(output, output), dy + at);
            _mm512_storeu_ps(dbias + f, _mm512_loadu_ps(dbias + f) + slope);
            _mm256_storeu_si256((__m256i *)(to + at), (__m256i)_mm512_cvtneps_pbh(slope));
        }
    for (int p = 0; p < pixels(l); p += 2)
        for (int f = 0; f < l->filters; f += 16) {
            const BFloat16 *upper = to + p * l->filters + f, *lower = upper + l->filters;
            _mm512_storeu_si512(columns + p * l->filters + 2 * f, pairs(upper, lower, 0));
        }
    const __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i rows = _mm512_mullo_epi32(numbers, _mm512_set1_epi32(l->filters));
    for (int f = 0; f < l->filters; f++)
        for (int p = 0; p < pixels(l); p += 32) {
            const __m512i column = _mm512_i32gather_epi32(rows, columns + p * l->filters + 2 * f, 4);
            _mm512_storeu_si512(turned + f * pixels(l) + p, column);
        }
}

INLINE void backward_to_weights(const Layer *l, const BFloat16 *x, const BFloat16 *turned, float *dw,
                                BFloat16 *columns) {
    int at[pixels(l)];
    corners(l, at);
    for (int k = 0; k < fan_in(l); k += 32) { /* columns: [pixel / 2][32 of k][2] */
        const BFloat16 *from = x + input(l, k);
        for (int p = 0; p < pixels(l); p += 2)
            for (int last = 0; last < 2; last++)
                _mm512_storeu_si512(columns + 32 * (p + last), pairs(from + at[p], from + at[p + 1], last));
        multiply(l->filters, 32, pixels(l), turned, columns, dw + k, fan_in(l), 1);
    }
}

INLINE void backward_to_inputs(const Layer *l, const BFloat16 *dy, const BFloat16 *w, float *dx) {
    int at[pixels(l)];
    float sums[32 * fan_in(l)] __attribute__((aligned(64))); /* of 32 pixels */
    corners(l, at);
    memset(dx, 0, sizeof(float) * outputs(l - 1));
    for (int first = 0; first < pixels(l); first += 32) {
        multiply(32, fan_in(l), l->filters, dy + first * l->filters, w, sums, fan_in(l), 0);
        for (int k = 0; k < fan_in(l); k += 32)
            for (int p = 0, offset = input(l, k); p < 32; p++) {
                float *to = dx + at[first + p] + offset;
                for (int i = 0; i < 32; i++) to[i] += sums[p * fan_in(l) + k + i];
            }
    }
}

/* Features of `number` states: bytes, [channel][row][column], `state_stride` apart.
 *
 * arrays: w and bias of each layer in turn. features: [filter][row][column] of each state. kept: of
 * each state, for `backward`, the image and each layer's output; if not `keep`, of each thread.
 * packed: scratch for the weights.
 */
void forward(int threads, long number, const unsigned char *states, long state_stride,
             const float *const *arrays, float *features, BFloat16 *kept, int keep,
             BFloat16 *packed) {
    const Layer *last = layers + LAYERS - 1;
    const int plane = layers->height * layers->width, places = last->rows * last->columns;
    pack(arrays, packed, 0);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        configure();
#pragma omp for schedule(dynamic)
        for (long s = 0; s < number; s++) {
            const unsigned char *state = states + s * state_stride;
            BFloat16 *x = kept + (keep ? s : omp_get_thread_num()) * kept_size(), *y = x + inputs(layers);
            for (int i = 0; i < plane; i++)
                for (int c = 0; c < 4; c++) x[4 * i + c] = ((Bits){state[c * plane + i]}).bits >> 16;
            const BFloat16 *w = packed;
            EACH_LAYER(l) {
                forward_layer(l, x, w, arrays[2 * (l - layers) + 1], y);
                w += weights(l), x = y, y += outputs(l);
            }
            float *to = features + s * last->filters * places;
            for (int f = 0; f < last->filters; f++)
                for (int p = 0; p < places; p++)
                    *to++ = ((Bits){.bits = x[p * last->filters + f] << 16}).number;
        }
        _tile_release();
    }
}

/* Gradients of the weights and biases of each layer in turn, added up over shares of `at_once` states,
 * whichever thread took them.
 *
 * dfeatures: like features. Scratch: sums as large as the gradients
 * for each share; packed for the weights; scratch for each thread.
 */
void backward(int threads, long number, long at_once, const float *dfeatures,
              const float *const *arrays, float *gradients, const BFloat16 *kept, float *sums,
              BFloat16 *packed, BFloat16 *scratch) {
    const Layer *last = layers + LAYERS - 1;
    const long shares = (number + at_once - 1) / at_once, size = all(parameters);
    const int places = last->rows * last->columns;
    pack(arrays, packed, 1);
    memset(sums, 0, sizeof(float) * shares * size);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        BFloat16 *rounded_dy = scratch + omp_get_thread_num() * scratch_size();
        BFloat16 *turned = rounded_dy + all(outputs), *columns = turned + all(outputs);
        float *dy = (float *)(columns + 2 * all(outputs));
        configure();
#pragma omp for schedule(dynamic)
        for (long share = 0; share < shares; share++)
            for (long s = share * at_once; s < (share + 1) * at_once && s < number; s++) {
                const BFloat16 *y = kept + (s + 1) * kept_size(), *w = packed + all(weights);
                const float *from = dfeatures + s * last->filters * places;
                float *dw = sums + (share + 1) * size;
                memset(dy, 0, sizeof(float) * outputs(last));
                for (int f = 0; f < last->filters; f++)
                    for (int p = 0; p < places; p++)
                        dy[p * last->filters + f] = *from++;
                UNROLL for (const Layer *l = last; l >= layers; l--) {
                    y -= outputs(l), w -= weights(l), dw -= parameters(l);
                    const BFloat16 *x = y - (l->first ? inputs(l) : outputs(l - 1));
                    through_relu(l, dy, y, rounded_dy, turned, columns, dw + weights(l));
                    backward_to_weights(l, x, turned, dw, columns);
                    if (!l->first) backward_to_inputs(l, rounded_dy, w, dy);
                }
            }
        _tile_release();
    }
    for (long share = 1; share < shares; share++)
        for (long i = 0; i < size; i++) sums[i] += sums[share * size + i];
    EACH_LAYER(l) {
        for (int f = 0; f < l->filters; f++)
            for (int k = 0; k < fan_in(l); k++)
                gradients[place(l, k) * l->filters + f] =
                    sums[f * fan_in(l) + k] * (l->first ? 1 / 255.0f : 1);
        memcpy(gradients + weights(l), sums + weights(l), sizeof(float) * l->filters);
        sums += parameters(l), gradients += parameters(l);
    }
}
