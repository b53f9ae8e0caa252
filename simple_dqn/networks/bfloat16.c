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
#define EACH_LAYER(l) for (const Layer *l = layers; l < layers + LAYERS; l++)

static int run(const Layer *l) { return l->size * l->channels; } /* inputs side by side in a row */
static int fan_in(const Layer *l) { return l->size * run(l); }
static int inputs(const Layer *l) { return l->height * l->width * l->channels; }
static int pixels(const Layer *l) { return (l->rows * l->columns + 31) / 32 * 32; } /* filled up */
static int outputs(const Layer *l) { return pixels(l) * l->filters; }
static int weights(const Layer *l) { return fan_in(l) * l->filters; }
static int parameters(const Layer *l) { return weights(l) + l->filters; }
static int patches(const Layer *l) { return pixels(l) * fan_in(l); }

static long all(int (*number)(const Layer *)) {
    long sum = 0;
    EACH_LAYER(l) sum += number(l);
    return sum;
}

/* How many numbers of bfloat16 are kept of a state, are in all weights, and a thread needs. */
long kept_size(void) { return inputs(layers) + all(outputs); }
long weights_size(void) { return all(weights); }
long scratch_size(void) { return 3 * all(patches) + 4 * all(outputs); }

/* Memory of a thread. */
typedef struct {
    BFloat16 *patches, *dy, *turned, *pairs; /* [pixel][k], [pixel][f], [f][pixel] */
    float *sums, *dx;                        /* products, and an image's gradient */
} Scratch;

static Scratch scratch_of(BFloat16 *scratch) {
    BFloat16 *own = scratch + omp_get_thread_num() * scratch_size();
    BFloat16 *dy = own + all(patches), *turned = dy + all(outputs), *sums = turned + all(outputs);
    return (Scratch){own, dy, turned, sums, (float *)sums, (float *)(sums + 2 * all(patches))};
}

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
static void multiply(int m, int n, int depth, const BFloat16 *a, const BFloat16 *b, float *sums, int line,
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
static int place(const Layer *l, int k) {
    return l->first ? k % l->channels * l->size * l->size + k / l->channels : k;
}

static BFloat16 rounded(float number) { /* to the nearest; of two, to the even one */
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

/* Copy x(pixel, k) of all pixels; those that fill up keep what they have. */
static void gather(const Layer *l, const BFloat16 *x, BFloat16 *to) {
    for (int row = 0; row < l->rows; row++)
        for (int column = 0; column < l->columns; column++)
            for (int y = 0; y < l->size; y++) {
                const BFloat16 *from = x + (row * l->stride + y) * l->width * l->channels;
                from += column * l->stride * l->channels;
                for (int k = 0; k < run(l); k += 32, to += 32)
                    _mm512_storeu_si512(to, _mm512_loadu_si512(from + k));
            }
}

/* Add up numbers [pixel][k] as an image. */
static void scatter(const Layer *l, const float *from, float *x) {
    memset(x, 0, sizeof(float) * outputs(l - 1));
    for (int row = 0; row < l->rows; row++)
        for (int column = 0; column < l->columns; column++)
            for (int y = 0; y < l->size; y++) {
                float *to = x + (row * l->stride + y) * l->width * l->channels;
                to += column * l->stride * l->channels;
                for (int k = 0; k < run(l); k++) to[k] += *from++;
            }
}

static void forward_layer(const Layer *l, const BFloat16 *x, const BFloat16 *w, const float *bias,
                          BFloat16 *y, const Scratch *s) {
    gather(l, x, s->patches);
    multiply(pixels(l), l->filters, fan_in(l), s->patches, w, s->sums, l->filters, 0);
    for (int p = 0; p < pixels(l); p++)
        for (int f = 0; f < l->filters; f += 16, y += 16) {
            const __m512 sum = _mm512_loadu_ps(s->sums + p * l->filters + f) + _mm512_loadu_ps(bias + f);
            const __m512 positive = _mm512_max_ps(sum, _mm512_setzero_ps());
            _mm256_storeu_si256((__m256i *)y, (__m256i)_mm512_cvtneps_pbh(positive));
        }
}

/* The numbers of two rows in turn: of their first halves, or of their last. */
static __m512i pairs(const BFloat16 *a, const BFloat16 *b, int last) {
    const __m512i places = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                            39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(a),
                                     _mm512_add_epi16(places, _mm512_set1_epi16(16 * last)),
                                     _mm512_loadu_si512(b));
}

/* Round dy where the ReLU's output y is above 0, else 0; the same turned; add up the biases' gradient. */
static void through_relu(const Layer *l, const float *dy, const BFloat16 *y, float *dbias,
                         const Scratch *s) {
    for (int p = 0; p < pixels(l); p++)
        for (int f = 0; f < l->filters; f += 16) {
            const int at = p * l->filters + f;
            const __m256i output = _mm256_loadu_si256((const __m256i *)(y + at));
            const __m512 slope = _mm512_maskz_loadu_ps(_mm256_test_epi16_mask(output, output), dy + at);
            _mm512_storeu_ps(dbias + f, _mm512_loadu_ps(dbias + f) + slope);
            _mm256_storeu_si256((__m256i *)(s->dy + at), (__m256i)_mm512_cvtneps_pbh(slope));
        }
    for (int f = 0; f < l->filters; f++)
        for (int p = 0; p < pixels(l); p++) s->turned[f * pixels(l) + p] = s->dy[p * l->filters + f];
}

static void backward_to_weights(const Layer *l, const BFloat16 *x, float *dw, const Scratch *s) {
    gather(l, x, s->patches);
    for (int k = 0; k < fan_in(l); k += 32) {
        for (int p = 0; p < pixels(l); p += 2)
            for (int last = 0; last < 2; last++) {
                const BFloat16 *a = s->patches + p * fan_in(l) + k;
                _mm512_storeu_si512(s->pairs + 32 * (p + last), pairs(a, a + fan_in(l), last));
            }
        multiply(l->filters, 32, pixels(l), s->turned, s->pairs, dw + k, fan_in(l), 1);
    }
}

/* Features of `number` states: bytes, [channel][row][column], `state_stride` apart.
 *
 * arrays: w and bias of each layer in turn. features: [filter][row][column] of each state. kept: of
 * each state, for `backward`, the image and each layer's output; if not `keep`, of each thread.
 * packed: scratch for the weights; scratch: for each thread, with numbers that are finite.
 */
void forward(int threads, long number, const unsigned char *states, long state_stride,
             const float *const *arrays, float *features, BFloat16 *kept, int keep, BFloat16 *packed,
             BFloat16 *scratch) {
    const Layer *last = layers + LAYERS - 1;
    const int plane = layers->height * layers->width, places = last->rows * last->columns;
    pack(arrays, packed, 0);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const Scratch own = scratch_of(scratch);
        configure();
#pragma omp for schedule(dynamic)
        for (long s = 0; s < number; s++) {
            const unsigned char *state = states + s * state_stride;
            BFloat16 *x = kept + (keep ? s : omp_get_thread_num()) * kept_size(), *y = x + inputs(layers);
            for (int i = 0; i < plane; i++)
                for (int c = 0; c < 4; c++) x[4 * i + c] = ((Bits){state[c * plane + i]}).bits >> 16;
            const BFloat16 *w = packed;
            EACH_LAYER(l) {
                forward_layer(l, x, w, arrays[2 * (l - layers) + 1], y, &own);
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
 * dfeatures: like features. sums: scratch as large as the gradients, for each share.
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
        const Scratch own = scratch_of(scratch);
        configure();
#pragma omp for schedule(dynamic)
        for (long share = 0; share < shares; share++)
            for (long s = share * at_once; s < (share + 1) * at_once && s < number; s++) {
                const BFloat16 *y = kept + (s + 1) * kept_size(), *w = packed + all(weights);
                const float *from = dfeatures + s * last->filters * places;
                float *dw = sums + (share + 1) * size;
                memset(own.dx, 0, sizeof(float) * outputs(last));
                for (int f = 0; f < last->filters; f++)
                    for (int p = 0; p < places; p++)
                        own.dx[p * last->filters + f] = *from++;
                for (const Layer *l = last; l >= layers; l--) {
                    const int k = fan_in(l);
                    y -= outputs(l), w -= weights(l), dw -= parameters(l);
                    through_relu(l, own.dx, y, dw + weights(l), &own);
                    backward_to_weights(l, y - (l->first ? inputs(l) : outputs(l - 1)), dw, &own);
                    if (l->first) continue;
                    multiply(pixels(l), k, l->filters, own.dy, w, own.sums, k, 0);
                    scatter(l, own.sums, own.dx);
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
