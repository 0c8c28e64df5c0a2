// A whole forward pass of a Llama model over a few rows of several sequences, in one call. Called through ctypes.
//
// Five phases per layer: projections of each head (normalise, multiply, rotate, write the cache) | attention |
// output + residual | gate and up (normalise, multiply, silu) | down + residual. A chunk of a phase is a few panels of
// weights for all rows, or one key-value head of one segment.
//
// The residual stream, the rotated queries and keys, and what enters a multiplication are rounded to bf16, as in the
// PyTorch model; sums, normalisation, rotation, softmax and silu are computed in float in between.
//
// Notation: R rows, H hidden size, D head dimension, I inner size of the MLP.

#include "attention.h"
#include "bytes.h"
#include "linear.h"
#include "pool.h"
#ifdef __AMX_BF16__
#include "tile_attention.h"
#endif

extern "C" {

// [N, K] in bf16 (linear.h), or in 8 bits with a scale per output (bytes.h). A model has one kind.
struct Matrix {
    const void* panels;
    const float* scales;  // null: bf16
};

struct Layer {
    const float* input_norm;  // [H]
    Matrix projection;        // [(heads + 2 * kv heads) * D, H]
    Matrix output;            // [H, heads * D]
    const float* mlp_norm;    // [H]
    Matrix gate_up;           // [2 I, H]: gate, up, gate, up ... by panels
    Matrix down;              // [H, I]
    int64_t feature;          // where its output goes among the features, in units of H; -1: nowhere
};

struct Model {
    int32_t hidden, inner, layers, heads, kv_heads, dim, features;
    float epsilon;
    const Layer* layer;         // [layers]
    const uint16_t* embedding;  // [V, H] bf16
    const float* norm;          // [H]
    const float* cos;           // [positions, D / 2]
    const float* sin;
};

struct Batch {
    int64_t rows;
    const int64_t* tokens;      // [R]
    const int64_t* positions;   // [R]
    const int64_t* offsets;     // [R] cache row of position 0 of the row's sequence
    const int64_t* places;      // [R] cache row of its key and value: offset + position, elsewhere for an alternative
    uint16_t* const* cache;     // [layers] of [cache rows, 2 * kv heads * D] bf16: keys, then values
    uint16_t* hidden;           // [R, H] out, bf16, normalised
    uint16_t* captured;         // [R, features * H] out, bf16
};

}  // extern "C"

namespace {

constexpr int SEGMENT_ROWS = 4;   // at most, so that threads share the attention of a long chunk
constexpr int NARROW = 2, WIDE = 4, HEAD = 8;  // panels per chunk of the multiplications

// Activations [rows, size] to whole numbers, for weights of 8 bits.
void round_rows(const Activation* inputs, int rows, int size, ByteInputs& to) {
    std::vector<float> values(size);
    to.resize(rows, size);
    for (int row = 0; row < rows; ++row, inputs += size) {
        for (int i = 0; i < size; ++i) values[i] = plain_value(inputs[i]);
        to.round(row, values.data());
    }
}

// outputs [rows, panels * 16]: `panels` of the matrix from `first` on, times all rows of `inputs` or, in 8 bits, of `whole`
void multiply_by(const Matrix& matrix, int first, int panels, const Activation* inputs, const ByteInputs& whole, int size,
                 int rows, float* outputs) {
    if (matrix.scales)
        multiply_bytes({(const int8_t*)matrix.panels, matrix.scales}, first, panels, whole, rows, outputs, panels * PANEL);
    else
        multiply((const int32_t*)matrix.panels + int64_t(first) * size / 2 * PANEL, panels, inputs, size, rows, size / 2,
                 outputs, panels * PANEL);
}

struct ThreadBuffers {
    std::vector<Activation> normal;  // [R, H]
    ByteInputs whole;
    int inputs_of = -1;              // the phase whose inputs they are
    std::vector<float> outputs;      // [R, panels of a chunk * 16]
    AttentionBuffers attention;
#ifdef __AMX_BF16__
    TileAttentionBuffers tile_attention;
#endif
};

void normalise(const float* values, const float* weight, int size, float epsilon, Activation* to) {
    Floats squares = {};
    for (int i = 0; i < size; i += LANES) {
        const Floats part = load(values + i);
        squares = fused(part, part, squares);
    }
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / float(size) + epsilon);
    for (int i = 0; i < size; ++i) to[i] = activation(values[i] * factor * weight[i]);
}

int ceiling(int value, int unit) { return (value + unit - 1) / unit; }

class Forward : public Work {
   public:
    Forward(const Model& model, const Batch& batch, int threads) : m_(model), b_(batch), buffers_(threads) {
        const size_t rows = size_t(batch.rows);
        residual_.resize(rows * model.hidden);
        queries_.resize(rows * model.heads * model.dim);
        attended_.resize(rows * model.heads * model.dim);
        inner_.resize(rows * model.inner);
#ifdef __AMX_BF16__
        in_tiles_ = fits_tiles(head_shape());
        const int segment_rows = in_tiles_ ? TILE_QUERIES / head_shape().group : SEGMENT_ROWS;
#else
        const int segment_rows = SEGMENT_ROWS;
#endif
        for (int row = 0; row < batch.rows; ++row) {
            const uint16_t* embedded = m_.embedding + b_.tokens[row] * m_.hidden;
            for (int i = 0; i < m_.hidden; ++i) residual_[int64_t(row) * m_.hidden + i] = widen(embedded[i]);
            const int position = int(b_.positions[row]);
            const bool aside = b_.places[row] != b_.offsets[row] + position;
            Segment* last = segments_.empty() ? nullptr : &segments_.back();
            if (last && last->rows < segment_rows && last->offset == b_.offsets[row] &&
                bool(last->places) == aside && last->position_of(last->rows) == position)
                ++last->rows;
            else
                segments_.push_back({row, 1, position, b_.offsets[row], aside ? b_.places + row : nullptr});
        }
        for (auto& one : buffers_) one.outputs.resize(rows * PANEL * std::max(WIDE, m_.dim / PANEL));
    }

    int phases() const override { return m_.layers * 5; }

    int chunks(int phase) const override {
        switch (phase % 5) {
            case 0: return m_.heads + 2 * m_.kv_heads;
            case 1: return int(segments_.size()) * m_.kv_heads;
            case 3: return ceiling(2 * m_.inner / PANEL, WIDE);
            default: return ceiling(m_.hidden / PANEL, NARROW);
        }
    }

    void run(int phase, int chunk, int thread) override {
        const int index = phase / 5;
        const Layer& layer = m_.layer[index];
        ThreadBuffers& own = buffers_[thread];
        switch (phase % 5) {
            case 0: return project(layer.projection, index, chunk, normal(own, layer.input_norm, phase), phase, own);
            case 1: return attention(index, chunk, own);
            case 2: return add(layer.output, attended_.data(), m_.heads * m_.dim, chunk, -1, phase, own);
            case 3: return gate(layer.gate_up, chunk, normal(own, layer.mlp_norm, phase), phase, own);
            default: return add(layer.down, inner_.data(), m_.inner, chunk, layer.feature, phase, own);
        }
    }

    void finish() {
        std::vector<Activation> row(m_.hidden);
        for (int64_t r = 0; r < b_.rows; ++r) {
            normalise(&residual_[r * m_.hidden], m_.norm, m_.hidden, m_.epsilon, row.data());
            for (int i = 0; i < m_.hidden; ++i) {
#if PAIRED
                b_.hidden[r * m_.hidden + i] = row[i];
#else
                b_.hidden[r * m_.hidden + i] = narrow(row[i]);
#endif
            }
        }
    }

   private:
    const Activation* normal(ThreadBuffers& own, const float* weight, int phase) {
        if (own.inputs_of != phase) {  // every thread normalises for itself: cheaper than to wait for each other
            own.normal.resize(residual_.size());
            for (int64_t r = 0; r < b_.rows; ++r)
                normalise(&residual_[r * m_.hidden], weight, m_.hidden, m_.epsilon, &own.normal[r * m_.hidden]);
        }
        return own.normal.data();
    }

    // [R, panels * 16] of `panels` from `first` on
    float* product(const Matrix& matrix, int first, int panels, const Activation* inputs, int size, int phase,
                   ThreadBuffers& own) {
        if (own.inputs_of != phase && matrix.scales) round_rows(inputs, int(b_.rows), size, own.whole);
        own.inputs_of = phase;
        multiply_by(matrix, first, panels, inputs, own.whole, size, int(b_.rows), own.outputs.data());
        return own.outputs.data();
    }

    void project(const Matrix& matrix, int index, int head, const Activation* inputs, int phase, ThreadBuffers& own) {
        const int dim = m_.dim, half = dim / 2, panels = dim / PANEL;
        float* outputs = product(matrix, head * panels, panels, inputs, m_.hidden, phase, own);
        const int64_t width = 2 * m_.kv_heads * dim;
        for (int64_t r = 0; r < b_.rows; ++r) {
            float* out = outputs + r * dim;
            for (int i = 0; i < dim; ++i) out[i] = rounded(out[i]);
            if (head < m_.heads + m_.kv_heads) {
                const float *cos = m_.cos + b_.positions[r] * half, *sin = m_.sin + b_.positions[r] * half;
                for (int i = 0; i < half; ++i) {
                    const float low = out[i], high = out[i + half];
                    out[i] = rounded(low * cos[i] - high * sin[i]);
                    out[i + half] = rounded(high * cos[i] + low * sin[i]);
                }
            }
            if (head < m_.heads) {
                memcpy(&queries_[(r * m_.heads + head) * dim], out, size_t(dim) * sizeof(float));
                continue;
            }
            uint16_t* to = b_.cache[index] + b_.places[r] * width + (head - m_.heads) * dim;
            for (int i = 0; i < dim; ++i) to[i] = narrow(out[i]);
        }
    }

    HeadShape head_shape() const { return {m_.dim, m_.heads / m_.kv_heads, 2 * int64_t(m_.kv_heads) * m_.dim}; }

    void attention(int index, int chunk, ThreadBuffers& own) {
        const Segment& segment = segments_[chunk / m_.kv_heads];
        const HeadShape shape = head_shape();
        const int head = chunk % m_.kv_heads;
        const int64_t to_values = shape.width / 2, first = int64_t(head) * shape.group * m_.dim;
        const int64_t stride = int64_t(m_.heads) * m_.dim;
        const uint16_t* keys = b_.cache[index] + segment.offset * shape.width + head * m_.dim;
#ifdef __AMX_BF16__
        if (in_tiles_)
            return attend_in_tiles(segment, shape, &queries_[first], keys, to_values, &attended_[first], stride,
                                   own.tile_attention);
#endif
        attend(segment, shape, &queries_[first], keys, to_values, &attended_[first], stride, own.attention);
    }

    void add(const Matrix& matrix, const Activation* inputs, int size, int chunk, int64_t feature, int phase,
             ThreadBuffers& own) {
        const int first = chunk * NARROW, panels = std::min(NARROW, m_.hidden / PANEL - first);
        const float* outputs = product(matrix, first, panels, inputs, size, phase, own);
        for (int64_t r = 0; r < b_.rows; ++r) {
            float* residual = &residual_[r * m_.hidden + first * PANEL];
            const float* out = outputs + r * panels * PANEL;
            for (int i = 0; i < panels * PANEL; ++i) residual[i] = rounded(residual[i] + out[i]);
            if (feature < 0) continue;
            uint16_t* to = b_.captured + (r * m_.features + feature) * m_.hidden + first * PANEL;
            for (int i = 0; i < panels * PANEL; ++i) to[i] = narrow(residual[i]);
        }
    }

    void gate(const Matrix& matrix, int chunk, const Activation* inputs, int phase, ThreadBuffers& own) {
        const int first = chunk * WIDE, panels = std::min(WIDE, 2 * m_.inner / PANEL - first);
        const float* outputs = product(matrix, first, panels, inputs, m_.hidden, phase, own);
        for (int64_t r = 0; r < b_.rows; ++r)
            for (int panel = 0; panel < panels; panel += 2) {
                const float* out = outputs + (r * panels + panel) * PANEL;
                Activation* to = &inner_[r * m_.inner + (first + panel) / 2 * PANEL];
                float products[PANEL];
                for (int i = 0; i < PANEL; i += LANES) {
                    const Floats value = rounded(load(out + i));
                    store(products + i, value / (1.0f + exponential(-value)) * rounded(load(out + PANEL + i)));
                }
                for (int i = 0; i < PANEL; ++i) to[i] = activation(products[i]);
            }
    }

    const Model& m_;
    const Batch& b_;
    std::vector<float> residual_, queries_;
    std::vector<Activation> attended_, inner_;
    std::vector<Segment> segments_;
    std::vector<ThreadBuffers> buffers_;
#ifdef __AMX_BF16__
    bool in_tiles_ = false;
#endif
};

class Linear : public Work {
   public:
    Linear(const Matrix& matrix, int columns, int size, const uint16_t* inputs, int rows, void* outputs, bool narrowed,
           bool ranked)
        : matrix_(matrix), columns_(columns), size_(size), rows_(rows), outputs_(outputs), narrowed_(narrowed) {
        if (ranked) best_.resize(size_t(chunks(0)) * rows);
        inputs_.resize(size_t(rows) * size);
        for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = from_bf16(inputs[i]);
        if (matrix.scales) round_rows(inputs_.data(), rows, size, whole_);
    }

    int phases() const override { return 1; }
    int chunks(int) const override { return ceiling(ceiling(columns_, PANEL), HEAD); }

    void run(int, int chunk, int) override {
        const int first = chunk * HEAD, panels = std::min(HEAD, ceiling(columns_, PANEL) - first);
        const int width = std::min(panels * PANEL, columns_ - first * PANEL);
        std::vector<float> outputs(size_t(rows_) * panels * PANEL);
        multiply_by(matrix_, first, panels, inputs_.data(), whole_, size_, rows_, outputs.data());
        for (int64_t r = 0; r < rows_; ++r) {
            float* from = &outputs[r * panels * PANEL];
            const int64_t to = r * columns_ + first * PANEL;
            if (!best_.empty()) {
                for (int i = width; i < panels * PANEL; ++i) from[i] = -__builtin_inff();  // fill up the last panel
                const int64_t place = place_of_largest(from, panels * PANEL);
                best_[size_t(chunk) * rows_ + r] = {from[place], first * PANEL + place};
            }
            if (!narrowed_)
                memcpy((float*)outputs_ + to, from, size_t(width) * sizeof(float));
            else
                for (int i = 0; i < width; ++i) ((uint16_t*)outputs_)[to + i] = narrow(from[i]);
        }
    }

    // [rows] where the largest output of each row stands, the first of equals
    void best(int64_t* to) const {
        for (int r = 0; r < rows_; ++r) {
            Best most = best_[r];
            for (size_t at = r + rows_; at < best_.size(); at += rows_)
                if (best_[at].value > most.value) most = best_[at];
            to[r] = most.place;
        }
    }

   private:
    struct Best {
        float value;
        int64_t place;
    };

    const Matrix matrix_;
    const int columns_, size_, rows_;
    void* const outputs_;
    const bool narrowed_;
    std::vector<Activation> inputs_;
    ByteInputs whole_;
    std::vector<Best> best_;  // [chunks, rows], if asked for
};

}  // namespace

extern "C" {

void* new_pool(int threads) { return new Pool(threads); }  // lives as long as the process

// May the library run here? (What /proc/cpuinfo can't tell.) Asked once, before anything else.
int permitted() {
#ifdef __AMX_BF16__
    return may_use_tiles();
#else
    return 1;
#endif
}

int lanes() { return LANES; }
int paired() { return PAIRED; }

void forward(Pool* pool, const Model* model, const Batch* batch, int threads) {
    Forward work(*model, *batch, pool->threads());
    pool->run(work, threads);
    work.finish();
}

// outputs [rows, columns], bf16 if `narrowed`, else float, of inputs [rows, size] bf16; unless null, best [rows]: where
// the largest output of each row stands, the first of equals
void linear(Pool* pool, const Matrix* matrix, int columns, int size, const uint16_t* inputs, int rows, void* outputs,
            int narrowed, int64_t* best, int threads) {
    Linear work(*matrix, columns, size, inputs, rows, outputs, narrowed != 0, best != nullptr);
    pool->run(work, threads);
    if (best) work.best(best);
}

// Reads all of a buffer and does nothing with it: what a multiplication would take if it computed for free.
class Reading : public Work {
   public:
    Reading(const int32_t* from, int64_t count) : from_(from), count_(count) {}
    int phases() const override { return 1; }
    int chunks(int) const override { return int((count_ + SHARE - 1) / SHARE); }
    void run(int, int chunk, int) override {
        const int64_t first = chunk * SHARE, last = std::min(count_, first + SHARE);
        Ints sums[8] = {};
        for (int64_t i = first; i + 8 * LANES <= last; i += 8 * LANES) {
            for (int line = 0; line < 8 * LANES / PANEL; ++line)
                _mm_prefetch((const char*)(from_ + i + (AHEAD + line) * PANEL), _MM_HINT_T0);
            for (int v = 0; v < 8; ++v) {
                Ints value;
                memcpy(&value, from_ + i + v * LANES, sizeof value);
                sums[v] ^= value;
            }
        }
        for (int v = 1; v < 8; ++v) sums[0] ^= sums[v];
        volatile int32_t kept = sums[0][0];
        (void)kept;
    }

   private:
    static constexpr int64_t SHARE = 1 << 16;
    const int32_t* from_;
    const int64_t count_;
};

void read_only(Pool* pool, const int32_t* from, int64_t count, int threads) {
    Reading work(from, count);
    pool->run(work, threads);
}

}  // extern "C"
