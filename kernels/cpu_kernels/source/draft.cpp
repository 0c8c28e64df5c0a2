// Whole draft chains of an EAGLE-3 head for a few sequences in one call, and the cache of what is committed. Called
// through ctypes.
//
// A draft step takes seven phases: projections of each head (normalise, multiply, rotate, write the cache) | attention |
// output + residual | gate and up (normalise, multiply, silu) | down + residual | head | choice of the token. A chain
// ends at its lookahead or where its survival falls below the least; phases of steps that no chain takes are empty.
// Positions that were committed since the last draft come first, in three phases more.
//
// Drafts need not be exact, since the target verifies them: weights have 8 bits (bytes.h), but for `fuse`, whose inputs
// have few very large values, and for a tenant's delta.
//
// Notation: R rows (sequences), H hidden size, D head dimension, I inner size of the MLP, V hot vocabulary.

#include <type_traits>

#include "attention.h"
#include "bytes.h"
#include "linear.h"
#include "pool.h"

extern "C" {

struct DraftModel {
    int32_t hidden, inner, heads, kv_heads, dim, hot, features;  // features: inputs of `fuse`
    float epsilon, least_survival;
    const int32_t* fuse;    // bf16 panels [H, features]
    ByteMatrix projection;  // [(heads + 2 * kv heads) * D, 2 H]
    ByteMatrix output;      // [H, heads * D]
    ByteMatrix gate_up;     // [2 I, H]: gate, up, gate, up ... by panels
    ByteMatrix down;        // [H, I]
    ByteMatrix head;        // [V, H]
    const float *embedding_norm, *hidden_norm, *mlp_norm, *norm;  // [H]
    const uint16_t* embedding;  // [target vocabulary, H] bf16
    const int64_t* hot_tokens;  // [V]
    const float *cos, *sin;     // [positions, D / 2]
};

struct LowRank {
    const int32_t *down, *up;  // bf16 panels [rank, inputs] and [outputs, rank]
};

struct DraftDelta {
    int64_t rank;  // even
    LowRank gate, up, down, head;
};

struct DraftRow {
    uint16_t* cache;          // the slot's, [positions, 2 * kv heads * D] bf16: keys, then values
    int64_t position;         // of the last committed position: its output is the first draft
    int64_t token;            // target id paired with it
    float* hidden;            // [H] of the last committed position
    int64_t num_committed;    // positions up to `position` that the cache and `hidden` don't know yet
    const int64_t* committed; // [num_committed] target ids
    const uint16_t* features; // [num_committed, features] bf16
    int64_t lookahead;
    float temperature;
    const DraftDelta* delta;  // or null
    int64_t* tokens;          // [lookahead] out: target ids
    float* confidences;       // [lookahead] out
    int64_t count;            // out
    int64_t num_others;       // how many further candidates for the first draft are wanted
    int64_t* others;          // [num_others] out: target ids, likeliest first
    float* other_confidences; // [num_others] out
};

}  // extern "C"

namespace {

constexpr int NARROW = 4, WIDE = 16, HEAD = 32;  // panels per chunk of the multiplications
constexpr int EXTENDED_ROWS = 64;                // committed positions at a time

int ceiling(int value, int unit) { return (value + unit - 1) / unit; }

void normalise(const float* values, const float* weight, int size, float epsilon, float* to) {
    Floats squares = {};
    for (int i = 0; i < size; i += LANES) {
        const Floats part = load(values + i);
        squares = fused(part, part, squares);
    }
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / float(size) + epsilon);
    for (int i = 0; i < size; ++i) to[i] = values[i] * factor * weight[i];
}

// [H] of a token and [H] of a hidden state -> [2 H], the input of the attention
void attention_input(const DraftModel& m, int64_t token, const float* hidden, float* scratch, float* to) {
    for (int i = 0; i < m.hidden; ++i) scratch[i] = widen(m.embedding[token * m.hidden + i]);
    normalise(scratch, m.embedding_norm, m.hidden, m.epsilon, to);
    normalise(hidden, m.hidden_norm, m.hidden, m.epsilon, to + m.hidden);
}

void rotate(const DraftModel& m, int64_t position, float* values) {
    const int half = m.dim / 2;
    const float *cos = m.cos + position * half, *sin = m.sin + position * half;
    for (int i = 0; i < half; ++i) {
        const float low = values[i], high = values[i + half];
        values[i] = low * cos[i] - high * sin[i];
        values[i + half] = high * cos[i] + low * sin[i];
    }
}

// What enters a multiplication, for all rows.
struct Inputs {
    std::vector<float> values;      // [R, size]
    ByteInputs rounded;
    std::vector<Activation> plain;  // [R, size], for deltas
    int phase = -1;                 // whose they are

    void resize(int rows, int size) {
        values.resize(size_t(rows) * size);
        rounded.resize(rows, size);
        plain.resize(values.size());
    }
    void round(int row, int size, bool for_delta) {
        const float* from = &values[int64_t(row) * size];
        rounded.round(row, from);
        if (for_delta)
            for (int i = 0; i < size; ++i) plain[int64_t(row) * size + i] = activation(from[i]);
    }
};

struct DraftBuffers {
    Inputs inputs;
    std::vector<float> outputs, scratch, low;
    std::vector<Activation> inner[2];  // [R, rank] of up to two deltas' modules
    AttentionBuffers attention;
};

// A position of a sequence that the target has read.
struct Committed {
    uint16_t* cache;  // the slot's
    int64_t position, token;
    const uint16_t* features;
    float* hidden;  // [H] out, or null
};

// Their keys and values into the caches, in three phases: fused features | what enters the attention | keys and values.
class Extension : public Work {
   public:
    Extension(const DraftModel& model, std::vector<Committed> rows, int threads)
        : m_(model), rows_(std::move(rows)), scratch_(threads), outputs_(threads) {
        const int count = int(rows_.size());
        features_.resize(size_t(count) * m_.features);
        for (int row = 0; row < count; ++row)
            for (int i = 0; i < m_.features; ++i) features_[int64_t(row) * m_.features + i] = from_bf16(rows_[row].features[i]);
        fused_.resize(size_t(count) * m_.hidden);
        pairs_.resize(size_t(count) * 2 * m_.hidden);
        rounded_.resize(count, 2 * m_.hidden);
    }

    int phases() const override { return rows_.empty() ? 0 : 3; }

    int chunks(int phase) const override {
        return phase == 0 ? ceiling(m_.hidden / PANEL, NARROW) : phase == 1 ? int(rows_.size()) : 2 * m_.kv_heads;
    }

    void run(int phase, int chunk, int thread) override {
        if (phase == 0) return fuse(chunk);
        if (phase == 1) return prepare(chunk, scratch_[thread]);
        remember(chunk, outputs_[thread]);
    }

   private:
    void fuse(int chunk) {
        const int panel = chunk * NARROW, panels = std::min(NARROW, m_.hidden / PANEL - panel);
        multiply(m_.fuse + int64_t(panel) * m_.features / 2 * PANEL, panels, features_.data(), m_.features, int(rows_.size()),
                 m_.features / 2, &fused_[panel * PANEL], m_.hidden);
    }

    void prepare(int row, std::vector<float>& scratch) {
        scratch.resize(m_.hidden);
        const float* fused = &fused_[int64_t(row) * m_.hidden];
        float* pair = &pairs_[int64_t(row) * 2 * m_.hidden];
        attention_input(m_, rows_[row].token, fused, scratch.data(), pair);
        rounded_.round(row, pair);
        if (rows_[row].hidden) memcpy(rows_[row].hidden, fused, size_t(m_.hidden) * sizeof(float));
    }

    void remember(int head, std::vector<float>& outputs) {
        const int dim = m_.dim, panels = dim / PANEL, width = 2 * m_.kv_heads * dim, count = int(rows_.size());
        outputs.resize(size_t(count) * dim);
        multiply_bytes(m_.projection, (m_.heads + head) * panels, panels, rounded_, count, outputs.data(), dim);
        for (int row = 0; row < count; ++row) {
            const Committed& here = rows_[row];
            float* out = &outputs[int64_t(row) * dim];
            if (head < m_.kv_heads) rotate(m_, here.position, out);
            for (int i = 0; i < dim; ++i) here.cache[here.position * width + head * dim + i] = narrow(out[i]);
        }
    }

    const DraftModel& m_;
    const std::vector<Committed> rows_;
    std::vector<Activation> features_;  // [R, features]
    std::vector<float> fused_, pairs_;  // [R, H], [R, 2 H]
    ByteInputs rounded_;
    std::vector<std::vector<float>> scratch_, outputs_;
};

// Those of all rows; each sequence's hidden state is the last one's.
std::vector<Committed> committed(const DraftModel& model, const DraftRow* rows, int count) {
    std::vector<Committed> found;
    for (int row = 0; row < count; ++row) {
        const DraftRow& own = rows[row];
        for (int64_t i = 0; i < own.num_committed; ++i)
            found.push_back({own.cache, own.position + 1 - own.num_committed + i, own.committed[i],
                             own.features + i * model.features, i + 1 == own.num_committed ? own.hidden : nullptr});
    }
    return found;
}

class Draft : public Work {
   public:
    Draft(const DraftModel& model, DraftRow* rows, int count, int threads)
        : m_(model),
          rows_(rows),
          count_(count),
          extension_(model, committed(model, rows, count), threads),
          before_(extension_.phases()),
          buffers_(threads),
          survival_(count, 1.0f),
          next_(count) {
        hidden_.resize(size_t(count) * m_.hidden);
        queries_.resize(size_t(count) * m_.heads * m_.dim);
        attended_.resize(queries_.size());
        inner_.resize(size_t(count) * m_.inner);
        stride_ = int64_t(ceiling(m_.hot, PANEL)) * PANEL;
        logits_.resize(size_t(count) * stride_);
        for (int row = 0; row < count; ++row) {
            next_[row] = rows[row].token;
            rows[row].count = 0;
            steps_ = std::max(steps_, int(rows[row].lookahead));
            if (rows[row].lookahead > 0) alive_.push_back(row);
        }
    }

    int phases() const override { return before_ + std::max(1, steps_ * 7); }

    int chunks(int phase) const override {
        if (phase < before_) return extension_.chunks(phase);
        if (alive_.empty()) return 1;
        phase -= before_;
        switch (phase % 7) {
            case 0: return m_.heads + 2 * m_.kv_heads;
            case 1: return int(alive_.size()) * m_.kv_heads;
            case 3: return ceiling(2 * m_.inner / PANEL, WIDE);
            case 5: return ceiling(ceiling(m_.hot, PANEL), HEAD);
            case 6: return 1;
            default: return ceiling(m_.hidden / PANEL, NARROW);
        }
    }

    void run(int phase, int chunk, int thread) override {
        if (phase < before_) return extension_.run(phase, chunk, thread);
        if (alive_.empty()) return;
        phase -= before_;
        DraftBuffers& own = buffers_[thread];
        if (own.inputs.phase != phase) prepare(own, phase);
        switch (phase % 7) {
            case 0: return project(own, chunk, phase / 7);
            case 1: return attention(own, chunk, phase / 7);
            case 2: return add(own, m_.output, chunk, nullptr, phase == 2);
            case 3: return gate(own, chunk);
            case 4: return add(own, m_.down, chunk, &DraftDelta::down);
            case 5: return head(own, chunk);
            default: return choose();
        }
    }

   private:
    // Every thread makes the inputs for itself: cheaper than to wait for each other.
    void prepare(DraftBuffers& own, int phase) {
        own.inputs.phase = phase;
        const int kind = phase % 7, rows = int(alive_.size());
        if (kind == 1 || kind == 6) return;
        const int sizes[] = {2 * m_.hidden, 0, m_.heads * m_.dim, m_.hidden, m_.inner, m_.hidden};
        const int size = sizes[kind];
        own.inputs.resize(rows, size);
        own.scratch.resize(m_.hidden);
        for (int place = 0; place < rows; ++place) {
            const int row = alive_[place];
            float* to = &own.inputs.values[int64_t(place) * size];
            const float* hidden = phase == 0 ? rows_[row].hidden : &hidden_[int64_t(row) * m_.hidden];
            if (kind == 0) attention_input(m_, next_[row], hidden, own.scratch.data(), to);
            if (kind == 2)
                for (int i = 0; i < size; ++i) to[i] = plain_value(attended_[int64_t(place) * size + i]);
            if (kind == 3) normalise(hidden, m_.mlp_norm, size, m_.epsilon, to);
            if (kind == 4) memcpy(to, &inner_[int64_t(place) * size], size_t(size) * sizeof(float));
            if (kind == 5) normalise(hidden, m_.norm, size, m_.epsilon, to);
            const DraftDelta* delta = rows_[row].delta;
            own.inputs.round(place, size, delta && kind >= 3);
            if (!delta || kind < 3) continue;
            if (kind == 3) {
                lower(own, 0, place, rows, size, *delta, delta->gate);
                lower(own, 1, place, rows, size, *delta, delta->up);
            } else {
                lower(own, 0, place, rows, size, *delta, kind == 4 ? delta->down : delta->head);
            }
        }
    }

    // The rank values of one row of one module.
    void lower(DraftBuffers& own, int which, int place, int rows, int size, const DraftDelta& delta, LowRank part) {
        const int panels = ceiling(int(delta.rank), PANEL), width = panels * PANEL;
        own.low.resize(width);
        if (int64_t(own.inner[which].size()) < int64_t(rows) * MOST_RANK) own.inner[which].resize(rows * MOST_RANK);
        multiply(part.down, panels, &own.inputs.plain[int64_t(place) * size], size, 1, size / 2, own.low.data(), width);
        for (int i = 0; i < delta.rank; ++i) own.inner[which][place * MOST_RANK + i] = activation(own.low[i]);
    }

    // Adds the delta's part of `panels` outputs from panel `first` on.
    void raise(DraftBuffers& own, int which, int place, const DraftDelta& delta, LowRank part, int first, int panels,
               float* outputs) {
        const int pairs = int(delta.rank) / 2;
        own.low.resize(size_t(panels) * PANEL);
        multiply(part.up + int64_t(first) * pairs * PANEL, panels, &own.inner[which][place * MOST_RANK], delta.rank, 1,
                 pairs, own.low.data(), panels * PANEL);
        for (int i = 0; i < panels * PANEL; ++i) outputs[i] += own.low[i];
    }

    float* product(DraftBuffers& own, const ByteMatrix& matrix, int first, int panels) {
        own.outputs.resize(alive_.size() * size_t(panels) * PANEL);
        multiply_bytes(matrix, first, panels, own.inputs.rounded, int(alive_.size()), own.outputs.data(), panels * PANEL);
        return own.outputs.data();
    }

    void project(DraftBuffers& own, int head, int step) {
        const int dim = m_.dim, panels = dim / PANEL;
        float* outputs = product(own, m_.projection, head * panels, panels);
        for (int place = 0; place < int(alive_.size()); ++place) {
            const DraftRow& row = rows_[alive_[place]];
            float* out = outputs + place * dim;
            if (head < m_.heads + m_.kv_heads) rotate(m_, row.position + step, out);
            if (head < m_.heads) {
                memcpy(&queries_[(int64_t(place) * m_.heads + head) * dim], out, size_t(dim) * sizeof(float));
                continue;
            }
            uint16_t* to = row.cache + (row.position + step) * 2 * m_.kv_heads * dim + (head - m_.heads) * dim;
            for (int i = 0; i < dim; ++i) to[i] = narrow(out[i]);
        }
    }

    void attention(DraftBuffers& own, int chunk, int step) {
        const int place = chunk / m_.kv_heads, head = chunk % m_.kv_heads, dim = m_.dim;
        const int group = m_.heads / m_.kv_heads;
        const DraftRow& row = rows_[alive_[place]];
        const int64_t to_values = int64_t(m_.kv_heads) * dim, first_head = int64_t(head) * group * dim;
        const HeadShape shape{dim, group, 2 * to_values};
        attend({place, 1, int(row.position) + step, 0, nullptr}, shape, &queries_[first_head], row.cache + head * dim, to_values,
               &attended_[first_head], int64_t(m_.heads) * dim, own.attention);
    }

    // `begins`: the chain's hidden state begins here, from the committed one.
    void add(DraftBuffers& own, const ByteMatrix& matrix, int chunk, LowRank DraftDelta::*part, bool begins = false) {
        const int first = chunk * NARROW, panels = std::min(NARROW, m_.hidden / PANEL - first), width = panels * PANEL;
        float* outputs = product(own, matrix, first, panels);
        for (int place = 0; place < int(alive_.size()); ++place) {
            const int row = alive_[place];
            const DraftDelta* delta = rows_[row].delta;
            if (delta && part) raise(own, 0, place, *delta, delta->*part, first, panels, outputs + place * width);
            float* hidden = &hidden_[int64_t(row) * m_.hidden + first * PANEL];
            const float* before = begins ? rows_[row].hidden + first * PANEL : hidden;
            for (int i = 0; i < width; ++i) hidden[i] = before[i] + outputs[place * width + i];
        }
    }

    void gate(DraftBuffers& own, int chunk) {
        const int first = chunk * WIDE, panels = std::min(WIDE, 2 * m_.inner / PANEL - first), width = panels * PANEL;
        float* outputs = product(own, m_.gate_up, first, panels);
        for (int place = 0; place < int(alive_.size()); ++place) {
            const DraftDelta* delta = rows_[alive_[place]].delta;
            for (int panel = 0; panel < panels; panel += 2) {
                float* out = outputs + place * width + panel * PANEL;
                const int pair = (first + panel) / 2;
                if (delta) {
                    raise(own, 0, place, *delta, delta->gate, pair, 1, out);
                    raise(own, 1, place, *delta, delta->up, pair, 1, out + PANEL);
                }
                for (int i = 0; i < PANEL; i += LANES) {
                    const Floats value = load(out + i);
                    store(&inner_[int64_t(place) * m_.inner + pair * PANEL + i],
                          value / (1.0f + exponential(-value)) * load(out + PANEL + i));
                }
            }
        }
    }

    void head(DraftBuffers& own, int chunk) {
        const int first = chunk * HEAD, panels = std::min(HEAD, ceiling(m_.hot, PANEL) - first), width = panels * PANEL;
        float* outputs = product(own, m_.head, first, panels);
        for (int place = 0; place < int(alive_.size()); ++place) {
            const DraftDelta* delta = rows_[alive_[place]].delta;
            if (delta) raise(own, 0, place, *delta, delta->head, first, panels, outputs + place * width);
            memcpy(&logits_[place * stride_ + first * PANEL], outputs + place * width, size_t(width) * sizeof(float));
        }
    }

    // The likeliest token of every row (the first of equals), its probability, and which chains go on.
    void choose() {
        std::vector<int> alive;
        for (int place = 0; place < int(alive_.size()); ++place) {
            DraftRow& row = rows_[alive_[place]];
            float* logits = &logits_[place * stride_];
            for (int64_t i = m_.hot; i < stride_; ++i) logits[i] = -3e38f;  // outputs that fill up the last panel
            const float largest = largest_of(logits, stride_);
            Floats sums = {};
            for (int64_t i = 0; i < stride_; i += LANES)
                sums += exponential((load(logits + i) - largest) / row.temperature);
            const int64_t best = place_of_largest(logits, stride_);
            const float confidence = 1.0f / sum(sums);
            if (row.count == 0) choose_others(row, logits, best, confidence);
            next_[alive_[place]] = row.tokens[row.count] = m_.hot_tokens[best];
            row.confidences[row.count++] = confidence;
            survival_[alive_[place]] *= confidence;
            if (row.count < row.lookahead && survival_[alive_[place]] >= m_.least_survival)
                alive.push_back(alive_[place]);
        }
        alive_ = alive;
    }

    // The next likeliest tokens after `best`, which is struck out of `logits`.
    void choose_others(DraftRow& row, float* logits, int64_t best, float confidence) const {
        const float likeliest = logits[best];
        for (int64_t other = 0; other < row.num_others; ++other) {
            logits[best] = -3e38f;
            best = place_of_largest(logits, stride_);
            row.others[other] = m_.hot_tokens[best];
            row.other_confidences[other] = confidence * __builtin_expf((logits[best] - likeliest) / row.temperature);
        }
    }

    static constexpr int MOST_RANK = 64;

    const DraftModel& m_;
    DraftRow* rows_;
    const int count_;
    Extension extension_;
    const int before_;  // phases of what was committed
    int steps_ = 0;
    int64_t stride_;
    std::vector<int> alive_;
    std::vector<float> hidden_, queries_, inner_, logits_;  // by row; the others by place in `alive_`
    std::vector<Activation> attended_;
    std::vector<DraftBuffers> buffers_;
    std::vector<float> survival_;
    std::vector<int64_t> next_;
};

}  // namespace

extern "C" {

// Chains of `count` rows.
void draft(Pool* pool, const DraftModel* model, DraftRow* rows, int count, int threads) {
    Draft work(*model, rows, count, pool->threads());
    pool->run(work, threads);
}

// Commits positions start..start + count of a slot: their keys and values, and the last one's hidden state.
// tokens [count] target ids; features [count, features] bf16; hidden [H] out
void draft_extend(Pool* pool, const DraftModel* model, uint16_t* cache, int64_t start, int64_t count, const int64_t* tokens,
                  const uint16_t* features, float* hidden, int threads) {
    for (int64_t first = 0; first < count; first += EXTENDED_ROWS) {
        std::vector<Committed> rows;
        for (int64_t i = first; i < std::min<int64_t>(count, first + EXTENDED_ROWS); ++i)
            rows.push_back({cache, start + i, tokens[i], features + i * model->features, i + 1 == count ? hidden : nullptr});
        Extension work(*model, std::move(rows), pool->threads());
        pool->run(work, threads);
    }
}

}  // extern "C"
