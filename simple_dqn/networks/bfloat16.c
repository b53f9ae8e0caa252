/* A Q-network's convolutions and hidden layers in bfloat16, forward and backward, for CPUs with AMX.
 *
 * bfloat16.py compiles this file for one network and calls it. Weights come as for convolutions.c and
 * are rounded at each call; sums are float32, and so are biases and gradients.
 *
 * Nothing is copied to form the inputs under a filter. An image is kept in cells of stride x stride
 * pixels: [cell row][cell column][pixel row][pixel column][channel]. In cells a convolution has stride
 * 1, and the inputs under a filter's row of cells stand side by side. Cells are counted through all
 * rows, and so are output pixels: pixel q begins at cell q. Where a filter would reach over the right
 * edge there is no pixel; what is computed there is dropped, and its gradient is 0. With tap t, the
 * t-th cell under a filter, and shift(t), its distance from the first:
 *
 *     forward    y[q][f]    = relu(bias[f] + sum_t,c x[q + shift(t)][c] w[t][c][f])
 *     backward   dw[f][t,c] = sum_q dy[q][f] x[q + shift(t)][c]
 *                dx[q][c]   = sum_t,f dy[q - shift(t)][f] w[t][c][f]
 *
 * The first layer's inputs are bytes, which bfloat16 holds exactly; their scale, 1/255, is that of its
 * weights.
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
#define UNROLL _Pragma("GCC unroll 16")

/* A layer: filters of size x size inputs; rows and columns of the output. */
typedef struct {
    int first, channels, height, width, filters, size, stride, rows, columns;
} Layer;

/* native.py defines LAYERS and, for each layer i, LAYER_i as a LAYER(...); bfloat16.py GROUP, the states
 * whose gradients a tile adds up. */
#define LAYER(first, channels, height, width, filters, size, stride)           \
    {first, channels, height, width, filters, size, stride,                    \
     (height - size) / stride + 1, (width - size) / stride + 1}
#ifndef LAYER_2
#define LAYER_2
#endif
static const Layer layers[] = {LAYER_0, LAYER_1, LAYER_2};
static const Layer *const last = layers + LAYERS - 1;
#define EACH_LAYER(l) UNROLL for (const Layer *l = layers; l < layers + LAYERS; l++)

INLINE int taps(const Layer *l) { return l->size / l->stride; } /* a filter's rows of cells */
INLINE int cell(const Layer *l) { return l->stride * l->stride * l->channels; } /* its numbers */
INLINE int across(const Layer *l) { return l->width / l->stride; }
INLINE int down(const Layer *l) { return l->height / l->stride; }
INLINE int fan_in(const Layer *l) { return taps(l) * taps(l) * cell(l); }
INLINE int shift(const Layer *l, int tap) { return tap / taps(l) * across(l) + tap % taps(l); }
INLINE int span(const Layer *l) { return shift(l, taps(l) * taps(l) - 1); }
INLINE int filled(int number, int to) { return (number + to - 1) / to * to; }
/* Pixels that are computed: one at least is none, so that all can be moved by one. */
INLINE int pixels(const Layer *l) { return filled((l->rows - 1) * across(l) + l->columns + 1, 32); }
INLINE int inputs(const Layer *l) { return filled(pixels(l) + span(l), 16) * cell(l); }
INLINE int outputs(const Layer *l) { return l == last ? pixels(l) * l->filters : inputs(l + 1); }
INLINE int padded(const Layer *l) { return (span(l) + inputs(l) / cell(l)) * l->filters; }
INLINE int line(const Layer *l) { return 32 + pixels(l); } /* of slopes, turned */
INLINE int turned(const Layer *l) { return line(l) * l->filters; }
INLINE float scale(const Layer *l) { return l->first ? 1 / 255.0f : 1; }
INLINE int weights(const Layer *l) { return fan_in(l) * l->filters; }
INLINE int parameters(const Layer *l) { return weights(l) + l->filters; }

INLINE long all(int (*number)(const Layer *)) {
    long sum = 0;
    EACH_LAYER(l) sum += number(l);
    return sum;
}

/* How many numbers of bfloat16 are kept of a state, are in all weights, and a thread needs. */
long kept_size(void) { return all(outputs); }
long weights_size(void) { return all(weights); }
long scratch_size(void) { return GROUP * (all(turned) + all(inputs)) + all(padded) + 2 * all(outputs); }

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

/* A factor of a product: where it begins, and the distances of its rows and of its runs. */
typedef struct {
    const BFloat16 *at;
    long line, run;
} Factor;

/* sums[i][j] (if `add`, +=) = sum_r,k a[r][i][k] b[r][k][j]; i < m and j < n, multiples of 16; k < depth,
 * a multiple of 32; r < runs. The rows of sums are `line` numbers apart; b is [k / 2][j][2]. */
INLINE void multiply(int m, int n, int runs, int depth, Factor a, Factor b, float *sums, int line, int add) {
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
            for (int r = 0; r < runs; r++)
                for (int k = 0; k < depth; k += 32) {
                    const BFloat16 *left = a.at + r * a.run + i * a.line + k;
                    const BFloat16 *right = b.at + r * b.run + k / 2 * b.line + 2 * j;
                    _tile_loadd(4, left, 2 * a.line);
                    _tile_loadd(6, right, 2 * b.line);
                    _tile_dpbf16ps(0, 4, 6);
                    if (more_n) _tile_loadd(7, right + 32, 2 * b.line);
                    if (more_n) _tile_dpbf16ps(1, 4, 7);
                    if (more_m) _tile_loadd(5, left + 16 * a.line, 2 * a.line);
                    if (more_m) _tile_dpbf16ps(2, 5, 6);
                    if (more_m && more_n) _tile_dpbf16ps(3, 5, 7);
                }
            EACH_TILE(STORE)
        }
}

/* Where the k-th input of a filter (tap, then place in the cell) is among its weights, which are
 * [row][column][channel], and [channel][row][column] in the first layer. */
INLINE int place(const Layer *l, int k) {
    const int tap = k / cell(l), pixel = k % cell(l) / l->channels, channel = k % l->channels;
    const int row = tap / taps(l) * l->stride + pixel / l->stride;
    const int at = row * l->size + tap % taps(l) * l->stride + pixel % l->stride;
    return l->first ? channel * l->size * l->size + at : at * l->channels + channel;
}

INLINE BFloat16 rounded(float number) { /* to the nearest; of two, to the even one */
    const unsigned bits = ((Bits){number}).bits;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Weights of all layers for `multiply`: [k / 2][f][2]; for the backward pass, from the last tap to the
 * first, [f / 2][place in the cell][2]. */
static void pack(const float *const *arrays, BFloat16 *to, int backward) {
    EACH_LAYER(l) {
        for (int k = 0; k < fan_in(l); k++) {
            const float *w = *arrays + place(l, k) * l->filters;
            const int tap = taps(l) * taps(l) - 1 - k / cell(l), c = k % cell(l);
            for (int f = 0; f < l->filters; f++)
                if (backward)
                    to[(tap * l->filters + f / 2 * 2) * cell(l) + 2 * c + f % 2] = rounded(scale(l) * w[f]);
                else
                    to[k / 2 * 2 * l->filters + 2 * f + k % 2] = rounded(scale(l) * w[f]);
        }
        arrays += 2, to += weights(l);
    }
}

/* What lies behind the cells is multiplied by 0. */
INLINE void clear_rest(const Layer *l, BFloat16 *to) {
    memset(to, 0, sizeof(BFloat16) * (inputs(l) - down(l) * across(l) * cell(l)));
}

/* A state's bytes, [channel][row][column], in cells; four cells at once. */
INLINE void fill_cells(const unsigned char *state, BFloat16 *to) {
    const Layer *l = layers;
    for (int row = 0; row < down(l) * 4; row++)
        for (int column = 0; column < across(l); column += 4) {
            const int first = column + 4 < across(l) ? column : across(l) - 4;
            __m128i bytes[4], two[4];
            UNROLL for (int c = 0; c < 4; c++) {
                const unsigned char *from = state + (c * l->height + row) * l->width + 4 * first;
                bytes[c] = _mm_loadu_si128((const __m128i *)from);
            }
            UNROLL for (int c = 0; c < 4; c += 2) {
                two[c] = _mm_unpacklo_epi8(bytes[c], bytes[c + 1]);
                two[c + 1] = _mm_unpackhi_epi8(bytes[c], bytes[c + 1]);
            }
            UNROLL for (int i = 0; i < 4; i++) {
                const __m128i a = two[i / 2], b = two[i / 2 + 2];
                const __m128i four = i % 2 ? _mm_unpackhi_epi16(a, b) : _mm_unpacklo_epi16(a, b);
                const __m512 numbers = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(four));
                const int at = (row / 4 * across(l) + first + i) * cell(l) + row % 4 * 16;
                _mm256_storeu_si256((__m256i *)(to + at), (__m256i)_mm512_cvtneps_pbh(numbers));
            }
        }
    clear_rest(l, to + down(l) * across(l) * cell(l));
}

/* The next layer, or the last one's outputs, see the outputs that have a place: where they begin. */
#define EACH_OUTPUT(l, q, at)                                                                       \
    for (int row = 0, q = 0, at; row < (l == last ? l->rows : down(l + 1) * l[1].stride); row++)    \
        for (int column = 0; column < (l == last ? l->columns : across(l + 1) * l[1].stride)        \
             && (q = row * across(l) + column, at = output(l, row, column), 1); column++)
INLINE int output(const Layer *l, int row, int column) {
    if (l == last) return (row * across(l) + column) * l->filters;
    const Layer *n = l + 1;
    const int pixel = row % n->stride * n->stride + column % n->stride;
    return (row / n->stride * across(n) + column / n->stride) * cell(n) + pixel * n->channels;
}

INLINE void forward_layer(const Layer *l, const BFloat16 *x, const BFloat16 *w, const float *bias,
                          BFloat16 *y) {
    float sums[pixels(l) * l->filters] __attribute__((aligned(64)));
    const int run = taps(l) * cell(l);
    multiply(pixels(l), l->filters, taps(l), run, (Factor){x, cell(l), across(l) * cell(l)},
             (Factor){w, 2 * l->filters, run * l->filters}, sums, l->filters, 0);
    if (l < last) clear_rest(l + 1, y + down(l + 1) * across(l + 1) * cell(l + 1));
    EACH_OUTPUT(l, q, at) UNROLL for (int f = 0; f < l->filters; f += 16) {
        const __m512 sum = _mm512_load_ps(sums + q * l->filters + f) + _mm512_loadu_ps(bias + f);
        const __m512 positive = _mm512_max_ps(sum, _mm512_setzero_ps());
        _mm256_storeu_si256((__m256i *)(y + at + f), (__m256i)_mm512_cvtneps_pbh(positive));
    }
}

/* Round dy where the ReLU's output y is above 0, else 0, to [q][f]; add up the biases' gradient. */
INLINE void through_relu(const Layer *l, const float *dy, const BFloat16 *y, BFloat16 *to, float *dbias) {
    __m512 sums[l->filters / 16];
    UNROLL for (int f = 0; f < l->filters / 16; f++) sums[f] = _mm512_loadu_ps(dbias + 16 * f);
    EACH_OUTPUT(l, q, at) UNROLL for (int f = 0; f < l->filters; f += 16) {
        const __m256i output = _mm256_loadu_si256((const __m256i *)(y + at + f));
        const __m512 slope = _mm512_maskz_loadu_ps(_mm256_test_epi16_mask(output, output), dy + at + f);
        sums[f / 16] += slope;
        _mm256_storeu_si256((__m256i *)(to + q * l->filters + f), (__m256i)_mm512_cvtneps_pbh(slope));
    }
    UNROLL for (int f = 0; f < l->filters / 16; f++) _mm512_storeu_ps(dbias + 16 * f, sums[f]);
}

/* The numbers of two rows in turn: of their first halves, or of their last. */
INLINE __m512i pairs(const BFloat16 *a, const BFloat16 *b, int last) {
    const __m512i places = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                            39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(a),
                                     _mm512_add_epi16(places, _mm512_set1_epi16(16 * last)),
                                     _mm512_loadu_si512(b));
}

/* [q][f] -> [f][q], in blocks of 32 pixels, two of which are a number here, and 16 filters. */
INLINE void turn(const Layer *l, const BFloat16 *from, BFloat16 *to) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int q = 0; q < pixels(l); q += 32)
        for (int f = 0; f < l->filters; f += 16) {
            __m512i rows[16];
            UNROLL for (int i = 0; i < 16; i++) {
                const BFloat16 *upper = from + (q + 2 * i) * l->filters + f;
                rows[i] = pairs(upper, upper + l->filters, 0);
            }
            UNROLL for (int s = 1; s < 16; s *= 2) { /* swap two quarters of each square of 2 s rows */
                const __mmask16 high = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(s));
                const __m512i other = _mm512_xor_epi32(lane, _mm512_set1_epi32(s));
                UNROLL for (int i = 0; i < 16; i++) if (!(i & s)) {
                    const __m512i upper = rows[i], lower = rows[i + s];
                    rows[i] = _mm512_mask_permutexvar_epi32(upper, high, other, lower);
                    rows[i + s] = _mm512_mask_permutexvar_epi32(lower, (__mmask16)~high, other, upper);
                }
            }
            UNROLL for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + (f + i) * line(l) + q, rows[i]);
        }
}

/* Features of `number` states: bytes, [channel][row][column], `state_stride` apart.
 *
 * arrays: w and bias of each layer in turn. features: [filter][row][column] of each state. kept: of
 * each state, for `backward`, the outputs of each layer; if not `keep`, of each thread. packed: scratch
 * for the weights.
 */
void forward(int threads, long number, const unsigned char *states, long state_stride,
             const float *const *arrays, float *features, BFloat16 *kept, int keep,
             BFloat16 *packed) {
    pack(arrays, packed, 0);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        configure();
#pragma omp for schedule(dynamic)
        for (long s = 0; s < number; s++) {
            BFloat16 image[inputs(layers)] __attribute__((aligned(64))), *x = image;
            BFloat16 *y = kept + (keep ? s : omp_get_thread_num()) * kept_size();
            const BFloat16 *w = packed;
            fill_cells(states + s * state_stride, image);
            EACH_LAYER(l) {
                forward_layer(l, x, w, arrays[2 * (l - layers) + 1], y);
                w += weights(l), x = y, y += outputs(l);
            }
            float *to = features + s * last->filters * last->rows * last->columns;
            for (int f = 0; f < last->filters; f++)
                EACH_OUTPUT(last, q, at) *to++ = ((Bits){.bits = x[at + f] << 16}).number;
        }
        _tile_release();
    }
}

/* A hidden layer's outputs for `number` rows of inputs: sums[output][row], of rows filled up to 16.
 *
 * w: [output][input]. packed: scratch for the rows' numbers, in pairs. */
void hidden(int threads, long number, int inputs, int outputs, const float *rows, const BFloat16 *w,
            const float *bias, BFloat16 *packed, float *sums) {
    const int line = filled(number, 16);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        configure();
#pragma omp for
        for (int k = 0; k < inputs; k += 32)
            for (long row = 0; row < number; row++)
                for (int i = k; i < k + 32; i += 2) {
                    const float *pair = rows + row * inputs + i;
                    ((unsigned *)packed)[i / 2 * line + row] = rounded(pair[0]) | rounded(pair[1]) << 16;
                }
#pragma omp for schedule(dynamic)
        for (int f = 0; f < outputs; f += 32) {
            for (int i = f; i < f + 32; i++)
                for (int row = 0; row < line; row++) sums[i * line + row] = bias[i];
            multiply(32, line, 1, inputs, (Factor){w + (long)f * inputs, inputs, 0},
                     (Factor){packed, 2 * line, 0}, sums + f * line, line, 1);
        }
        _tile_release();
    }
}

/* Gradients of its inputs, drows, for rows filled up to 32, and of its weights, dw[output][input].
 *
 * slopes: [row][output]. scratch: for the slopes twice and for the rows, filled up. */
void hidden_backward(int threads, long number, int inputs, int outputs, const float *rows, const BFloat16 *w,
                     const float *slopes, BFloat16 *scratch, float *drows, float *dw) {
    enum { BLOCK = 512 }; /* inputs at once */
    const int line = filled(number, 32);
    BFloat16 *turned = scratch + line * outputs, *paired = turned + line * outputs;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        BFloat16 of_w[32 * BLOCK];
        configure();
#pragma omp for
        for (int f = 0; f < outputs; f++)
            for (int row = 0; row < line; row++) {
                const BFloat16 slope = row < number ? rounded(slopes[row * outputs + f]) : 0;
                scratch[row * outputs + f] = turned[f * line + row] = slope;
            }
#pragma omp for schedule(dynamic)
        for (int k = 0; k < inputs; k += BLOCK) {
            const int width = k + BLOCK < inputs ? BLOCK : inputs - k;
            for (int f = 0; f < outputs; f += 32) {
                const BFloat16 *from = w + (long)f * inputs + k;
                for (int i = 0; i < 32; i += 2, from += 2 * inputs)
                    for (int j = 0; j < width; j += 32)
                        for (int half = 0; half < 2; half++)
                            _mm512_storeu_si512(of_w + i * width + 2 * j + 32 * half,
                                                pairs(from + j, from + inputs + j, half));
                multiply(line, width, 1, 32, (Factor){scratch + f, outputs, 0}, (Factor){of_w, 2 * width, 0},
                         drows + k, inputs, f > 0);
            }
            for (long row = 0; row < line; row += 2) {
                const float *a = rows + row * inputs, *b = a + inputs;
                for (int i = k; i < k + width; i++)
                    ((unsigned *)paired)[row / 2 * inputs + i] =
                        (row < number ? rounded(a[i]) : 0) | (row + 1 < number ? rounded(b[i]) << 16 : 0);
            }
        }
#pragma omp for schedule(dynamic)
        for (int f = 0; f < outputs; f += 32)
            multiply(32, inputs, 1, line, (Factor){turned + f * line, line, 0},
                     (Factor){paired, 2 * inputs, 0}, dw + (long)f * inputs, inputs, 0);
        _tile_release();
    }
}

/* What a thread needs for the backward pass: for each layer the rows of slopes dy of one state, which
 * are 0 where there is no pixel; of each state of a group, the slopes turned and the inputs in pairs;
 * and for all layers dy as it comes. */
typedef struct {
    BFloat16 *rows, *slopes, *columns;
    float *dy;
} Scratch;

/* Slopes and inputs of the s-th state of a group; add up the biases' gradients. */
INLINE void backward_state(const unsigned char *state, const float *dfeatures, const BFloat16 *y,
                           const BFloat16 *w, Scratch scratch, int s, float *dw) {
    BFloat16 image[inputs(layers)] __attribute__((aligned(64)));
    fill_cells(state, image);
    for (int f = 0; f < last->filters; f++)
        EACH_OUTPUT(last, q, at) scratch.dy[at + f] = *dfeatures++;
    y += kept_size(), w += all(weights), dw += all(parameters);
    scratch.rows += all(padded);
    scratch.slopes += GROUP * all(turned), scratch.columns += GROUP * all(inputs);
    UNROLL for (const Layer *l = last; l >= layers; l--) {
        y -= outputs(l), w -= weights(l), dw -= parameters(l), scratch.rows -= padded(l);
        scratch.slopes -= GROUP * turned(l), scratch.columns -= GROUP * inputs(l);
        BFloat16 *dy = scratch.rows + span(l) * l->filters, *columns = scratch.columns + s * inputs(l);
        const BFloat16 *x = l->first ? image : y - inputs(l);
        const int run = taps(l) * l->filters;
        through_relu(l, scratch.dy, y, dy, dw + weights(l));
        turn(l, dy, scratch.slopes + s * turned(l) + 32);
        for (int i = 0; i < inputs(l); i += 2 * cell(l), x += cell(l))
            for (int c = 0; c < cell(l); c += 32, x += 32, columns += 64)
                for (int half = 0; half < 2; half++)
                    _mm512_storeu_si512(columns + 32 * half, pairs(x, x + cell(l), half));
        if (!l->first)
            multiply(filled(down(l) * across(l), 16), cell(l), taps(l), run,
                     (Factor){scratch.rows, l->filters, across(l) * l->filters},
                     (Factor){w, 2 * cell(l), run * cell(l)}, scratch.dy, cell(l), 0);
    }
}

/* Gradients of the weights of a group of states (if `add`, +=). */
INLINE void backward_weights(Scratch scratch, int states, float *dw, int add) {
    EACH_LAYER(l) {
        for (int tap = 0; tap < taps(l) * taps(l); tap++) {
            const int odd = shift(l, tap) % 2; /* pairs begin at even cells */
            multiply(l->filters, cell(l), states, pixels(l),
                     (Factor){scratch.slopes + 32 - odd, line(l), turned(l)},
                     (Factor){scratch.columns + (shift(l, tap) - odd) * cell(l), 2 * cell(l), inputs(l)},
                     dw + tap * cell(l), fan_in(l), add);
        }
        dw += parameters(l), scratch.slopes += GROUP * turned(l), scratch.columns += GROUP * inputs(l);
    }
}

/* Gradients of the weights and biases of each layer in turn, added up over shares of `at_once` states,
 * whichever thread took them.
 *
 * dfeatures: like features. Scratch: sums as large as the gradients for each share; packed for the
 * weights; scratch for each thread, 0 in the beginning.
 */
void backward(int threads, long number, long at_once, const unsigned char *states, long state_stride,
              const float *dfeatures, const float *const *arrays, float *gradients,
              const BFloat16 *kept, float *sums, BFloat16 *packed, BFloat16 *scratch) {
    const long shares = (number + at_once - 1) / at_once, size = all(parameters);
    const long features = last->filters * last->rows * last->columns;
    pack(arrays, packed, 1);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        BFloat16 *rows = scratch + omp_get_thread_num() * scratch_size(), *slopes = rows + all(padded);
        BFloat16 *columns = slopes + GROUP * all(turned);
        const Scratch mine = {rows, slopes, columns, (float *)(columns + GROUP * all(inputs))};
        configure();
#pragma omp for schedule(dynamic)
        for (long share = 0; share < shares; share++) {
            const long first = share * at_once, end = first + at_once < number ? first + at_once : number;
            float *dw = sums + share * size, *each = dw;
            EACH_LAYER(l) memset((each += parameters(l)) - l->filters, 0, sizeof(float) * l->filters);
            for (long group = first; group < end; group += GROUP) {
                const int group_size = end - group < GROUP ? end - group : GROUP;
                for (long s = group; s < group + group_size; s++)
                    backward_state(states + s * state_stride, dfeatures + s * features,
                                   kept + s * kept_size(), packed, mine, s - group, dw);
                backward_weights(mine, group_size, dw, group > first);
            }
        }
        _tile_release();
        for (long share = 1; share < shares; share++)
#pragma omp for simd nowait
            for (long i = 0; i < size; i++) sums[i] += sums[share * size + i];
    }
    EACH_LAYER(l) {
        for (int first = 0; first < l->filters; first += 16)
            for (int k = 0; k < fan_in(l); k++)
                for (int f = first; f < first + 16; f++)
                    gradients[place(l, k) * l->filters + f] = sums[f * fan_in(l) + k] * scale(l);
        memcpy(gradients + weights(l), sums + weights(l), sizeof(float) * l->filters);
        sums += parameters(l), gradients += parameters(l);
    }
}
