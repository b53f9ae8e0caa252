/* A Q-network's convolutions, forward and backward, compiled for one CPU: in much less time than
 * PyTorch's, because the shapes are constants and a state stays in the caches through all layers.
 *
 * native.py compiles this file for one network and calls it; PyTorch does the same work where
 * there is no compiler. Each layer is a matrix product that never builds its matrices: a small
 * tile of sums stays in registers while the inputs stream by.
 *
 *     forward    y[pixel][f]   = relu(bias[f] + sum_k x(pixel, k) w[k][f])
 *     backward   dw[k][f]     += sum_pixel x(pixel, k) dy[pixel][f]
 *                dx(pixel, k) += sum_f dy[pixel][f] w[k][f]
 *
 * x(pixel, k) is the k-th of the inputs under a filter at an output pixel. Activations are stored
 * [row][column][channel]; the first layer's inputs are screens, [channel][row][column]. Weights
 * are stored [k][f], with k in the order of the inputs.
 */
#include <omp.h>
#include <string.h>

#ifdef __AVX512F__
enum { LANES = 16, MAX_ROWS = 12 }; /* floats in a vector; outputs of a tile, by registers */
#else
enum { LANES = 8, MAX_ROWS = 6 };
#endif
enum { MAX_VECTORS = 2, BLOCK = 8, FLOATS_AT_ONCE = 100000 };

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int Mask __attribute__((vector_size(4 * LANES), aligned(4)));

#define INLINE static inline __attribute__((always_inline)) /* so that shapes become constants */
#define UNROLL _Pragma("GCC unroll 16")
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)
#define AT(pointer, v) (*(Vector *)((pointer) + (v) * LANES))

/* The shape of a layer; distances in floats. */
typedef struct {
    int size, stride;           /* of the filters */
    int planes, plane;          /* a filter covers so many separate planes, so far apart */
    int line, run, step;        /* from row to row; inputs side by side in a row; pixel to pixel */
    int rows, columns, filters; /* of the output */
    int inputs, channels;       /* floats of an input image; its channels (backward to inputs) */
} Layer;

/* A layer's shape by its input's; `first` is 1 for the layer that reads screens, else 0. */
#define LAYER(first, channels, height, width, filters, size, stride)                          \
    ((Layer){size, stride, first ? channels : 1, first ? height * width : 0,                   \
             width * (first ? 1 : channels), size * (first ? 1 : channels),                    \
             stride * (first ? 1 : channels), (height - size) / stride + 1,                    \
             (width - size) / stride + 1, filters, channels * height * width, channels})

INLINE int vectors(const int channels) { return channels % (MAX_VECTORS * LANES) ? 1 : MAX_VECTORS; }
INLINE int outputs(const Layer l) { return l.rows * l.columns * l.filters; }
INLINE int fan_in(const Layer l) { return l.planes * l.size * l.run; }

/* Call `tile` for all the pixels of an output row, at most MAX_ROWS at a time. */
#define TILES(columns, tile)                                                       \
    do {                                                                           \
        const int tiles = ((columns) + MAX_ROWS - 1) / MAX_ROWS;                   \
        const int width = ((columns) + tiles - 1) / tiles, x0 = width * (tiles - 1); \
        for (int x = 0; x < x0; x += width) tile(x, width);                        \
        tile(x0, (columns)-x0);                                                    \
    } while (0)

INLINE void forward_tile(const Layer l, const float *x, const float *w, const float *bias, float *y,
                         const int pixels, const int n) {
    Vector sum[MAX_ROWS][MAX_VECTORS];
    EACH(p, pixels) EACH(v, n) sum[p][v] = AT(bias, v);
    for (int plane = 0; plane < l.planes; plane++)
        for (int row = 0; row < l.size; row++) {
            const float *input = x + plane * l.plane + row * l.line;
            for (int k = 0; k < l.run; k++, input++, w += l.filters) {
                Vector weight[MAX_VECTORS];
                EACH(v, n) weight[v] = AT(w, v);
                EACH(p, pixels) EACH(v, n) sum[p][v] += input[p * l.step] * weight[v];
            }
        }
    EACH(p, pixels) EACH(v, n)
        AT(y + p * l.filters, v) = (Vector)((Mask)sum[p][v] & (sum[p][v] > 0));
}

INLINE void forward_layer(const Layer l, const float *x, const float *w, const float *bias, float *y) {
    const int n = vectors(l.filters);
    for (int row = 0; row < l.rows; row++)
        for (int f = 0; f < l.filters; f += n * LANES) {
            const float *input = x + row * l.stride * l.line;
            float *output = y + row * l.columns * l.filters + f;
#define TILE(column, pixels) \
    forward_tile(l, input + (column)*l.step, w + f, bias + f, output + (column)*l.filters, pixels, n)
            TILES(l.columns, TILE);
#undef TILE
        }
}

INLINE void backward_to_weights(const Layer l, const float *x, const float *dy, float *dw,
                                float *dbias) {
    const int n = vectors(l.filters);
    for (int plane = 0; plane < l.planes; plane++)
        for (int size = 0; size < l.size; size++)
            for (int k = 0; k < l.run; k += BLOCK, dw += BLOCK * l.filters)
                for (int f = 0; f < l.filters; f += n * LANES) {
                    Vector sum[BLOCK][MAX_VECTORS];
                    EACH(i, BLOCK) EACH(v, n) sum[i][v] = AT(dw + i * l.filters + f, v);
                    for (int row = 0; row < l.rows; row++) {
                        const float *input = x + plane * l.plane + (row * l.stride + size) * l.line + k;
                        const float *error = dy + row * l.columns * l.filters + f;
                        for (int column = 0; column < l.columns; column++) {
                            Vector e[MAX_VECTORS];
                            EACH(v, n) e[v] = AT(error, v);
                            EACH(i, BLOCK) EACH(v, n) sum[i][v] += input[i] * e[v];
                            input += l.step, error += l.filters;
                        }
                    }
                    EACH(i, BLOCK) EACH(v, n) AT(dw + i * l.filters + f, v) = sum[i][v];
                }
    for (int pixel = 0; pixel < l.rows * l.columns; pixel++)
        for (int f = 0; f < l.filters; f++) dbias[f] += dy[pixel * l.filters + f];
}

INLINE void backward_tile(const Layer l, const float *dy, const float *w, float *dx, const int pixels,
                          const int n) {
    Vector sum[MAX_ROWS][MAX_VECTORS];
    EACH(p, pixels) EACH(v, n) sum[p][v] = AT(dx + p * l.step, v);
    for (int f = 0; f < l.filters; f++, w += l.channels) {
        Vector weight[MAX_VECTORS];
        EACH(v, n) weight[v] = AT(w, v);
        EACH(p, pixels) EACH(v, n) sum[p][v] += dy[p * l.filters + f] * weight[v];
    }
    EACH(p, pixels) EACH(v, n) AT(dx + p * l.step, v) = sum[p][v];
}

/* The weights come turned: for each place in a filter [f][channel]. */
INLINE void backward_to_inputs(const Layer l, const float *dy, const float *w, float *dx) {
    const int n = vectors(l.channels);
    memset(dx, 0, sizeof(float) * l.inputs);
    for (int place = 0; place < l.size * l.size; place++)
        for (int c = 0; c < l.channels; c += n * LANES)
            for (int row = 0; row < l.rows; row++) {
                const float *error = dy + row * l.columns * l.filters;
                const float *weight = w + place * l.filters * l.channels + c;
                float *output = dx + (row * l.stride + place / l.size) * l.line +
                                place % l.size * l.channels + c;
#define TILE(column, pixels)                                                            \
    backward_tile(l, error + (column)*l.filters, weight, output + (column)*l.step, pixels, n)
                TILES(l.columns, TILE);
#undef TILE
            }
}

INLINE void transpose(const float *from, float *to, int rows, int columns) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

/* native.py defines LAYERS and, for each layer i, LAYER_i as a LAYER(...). */
#define FUNCTIONS(i)                                                                             \
    static void forward_##i(const float *x, const float *w, const float *bias, float *y) {       \
        forward_layer(LAYER_##i, x, w, bias, y);                                                 \
    }                                                                                            \
    static void to_weights_##i(const float *x, const float *dy, float *dw, float *dbias) {       \
        backward_to_weights(LAYER_##i, x, dy, dw, dbias);                                        \
    }
#define TO_INPUTS(i)                                                                             \
    static void to_inputs_##i(const float *dy, const float *w, float *dx) {                      \
        backward_to_inputs(LAYER_##i, dy, w, dx);                                                \
    }
FUNCTIONS(0)
FUNCTIONS(1)
TO_INPUTS(1)
#if LAYERS > 2
FUNCTIONS(2)
TO_INPUTS(2)
#endif

static const struct {
    Layer shape;
    void (*forward)(const float *, const float *, const float *, float *);
    void (*to_weights)(const float *, const float *, float *, float *);
    void (*to_inputs)(const float *, const float *, float *);
} layers[LAYERS] = {
    {LAYER_0, forward_0, to_weights_0, 0},
    {LAYER_1, forward_1, to_weights_1, to_inputs_1},
#if LAYERS > 2
    {LAYER_2, forward_2, to_weights_2, to_inputs_2},
#endif
};

/* The functions below divide their work into `shares` among torch's own threads: a thread takes the
 * next share when it is done with one, so one whose core is busy with something else does less. */
#define THREAD omp_get_thread_num()
#define EACH_SHARE(share)                                                                      \
    _Pragma("omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && shares > 1)") \
    for (long share = 0; share < shares; share++)
#define SHARES(number, each) (((number) + (each)-1) / (each))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

/* Features of `number` states: bytes, [channel][row][column], `state_stride` apart.
 *
 * weights: w and bias of each layer in turn. features: [filter][row][column] of each state.
 * kept: inputs and outputs of the layers, `kept_floats` of each state, for `backward`; if not `keep`,
 * of each thread.
 */
void forward(int threads, long number, const unsigned char *states, long state_stride,
             const float *const *weights, float *features, float *kept, long kept_floats, int keep) {
    const Layer last = layers[LAYERS - 1].shape;
    const long shares = number;
    EACH_SHARE(s) {
        const unsigned char *state = states + s * state_stride;
        float *x = kept + (keep ? s : THREAD) * kept_floats;
        for (int i = 0; i < layers[0].shape.inputs; i++) x[i] = state[i] * (1 / 255.0f);
        for (int l = 0; l < LAYERS; l++) {
            float *y = x + layers[l].shape.inputs;
            layers[l].forward(x, weights[2 * l], weights[2 * l + 1], y);
            x = y;
        }
        transpose(x, features + s * outputs(last), last.rows * last.columns, last.filters);
    }
}

/* Gradients of the weights and biases of each layer in turn: a row of sums for each share of
 * STATES_AT_ONCE states, whichever thread took it.
 *
 * dfeatures: like features. turned: the weights of the layers but the first, for each place in a
 * filter [f][channel]. scratch: for each thread `scratch_floats`, as many as all layers have outputs
 * for a state.
 */
void backward(int threads, long number, const float *dfeatures, const float *const *turned, float *sums,
              const float *kept, long kept_floats, float *scratch, long scratch_floats) {
    const long shares = SHARES(number, STATES_AT_ONCE);
    const Layer last = layers[LAYERS - 1].shape;
    long parameters = 0;
    for (int l = 0; l < LAYERS; l++)
        parameters += (fan_in(layers[l].shape) + 1) * layers[l].shape.filters;
    EACH_SHARE(share) {
        float *dw[LAYERS], *dbias[LAYERS], *sum = sums + share * parameters;
        memset(sum, 0, sizeof(float) * parameters);
        for (int l = 0; l < LAYERS; l++) {
            dw[l] = sum, dbias[l] = sum + fan_in(layers[l].shape) * layers[l].shape.filters;
            sum = dbias[l] + layers[l].shape.filters;
        }
        for (long s = share * STATES_AT_ONCE; s < MIN((share + 1) * STATES_AT_ONCE, number); s++) {
            const float *x[LAYERS + 1] = {kept + s * kept_floats};
            for (int l = 0; l < LAYERS; l++) x[l + 1] = x[l] + layers[l].shape.inputs;
            float *dy = scratch + THREAD * scratch_floats;
            transpose(dfeatures + s * outputs(last), dy, last.filters, last.rows * last.columns);
            for (int l = LAYERS - 1; l >= 0; l--) {
                const int number_outputs = outputs(layers[l].shape);
                for (int i = 0; i < number_outputs; i++) dy[i] = x[l + 1][i] > 0 ? dy[i] : 0;
                layers[l].to_weights(x[l], dy, dw[l], dbias[l]);
                if (l) layers[l].to_inputs(dy, turned[l - 1], dy + number_outputs);
                dy += number_outputs;
            }
        }
    }
}

/* RMSProp as in optimizers.py or else Adam, in one pass over the memory; arrays of so many
 * `parameters`. RMSProp's constants c: decay rate, learning rate, min_squared_gradient. Adam's: decay
 * rates of m and v, learning rate / (1 - rate_m^t), 1 / sqrt(1 - rate_v^t), epsilon. */
void optimize(int threads, int parameters, const long *sizes, float *const *ws, const float *const *dws,
              float *const *ms, float *const *vs, int adam, const float *c) {
    long shares = 0;
    for (int p = 0; p < parameters; p++) shares += SHARES(sizes[p], FLOATS_AT_ONCE);
    EACH_SHARE(share) {
        long part = share; /* of parameter p */
        int p = 0;
        for (; part >= SHARES(sizes[p], FLOATS_AT_ONCE); p++) part -= SHARES(sizes[p], FLOATS_AT_ONCE);
        const long begin = part * FLOATS_AT_ONCE, end = MIN(begin + FLOATS_AT_ONCE, sizes[p]);
        float *w = ws[p], *m = ms[p], *v = vs[p];
        const float *dw = dws[p], c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4];
        if (adam) {
            for (long i = begin; i < end; i++) {
                m[i] = c0 * m[i] + (1 - c0) * dw[i];
                v[i] = c1 * v[i] + (1 - c1) * dw[i] * dw[i];
                w[i] -= c2 * m[i] / (c3 * __builtin_sqrtf(v[i]) + c4);
            }
        } else {
            for (long i = begin; i < end; i++) {
                m[i] = c0 * m[i] + (1 - c0) * dw[i];
                v[i] = c0 * v[i] + (1 - c0) * dw[i] * dw[i];
                const float variance = v[i] - m[i] * m[i]; /* NB! by rounding it can be below 0 */
                w[i] -= c1 * dw[i] / __builtin_sqrtf((variance < 0 ? 0 : variance) + c2);
            }
        }
    }
}
