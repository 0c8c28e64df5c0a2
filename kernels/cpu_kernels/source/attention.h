// softmax(q k / sqrt(dim)) v of a few rows of one sequence, for the query heads of one key-value head.
//
// Keys are summed up in the order of their positions, so that a row's bits depend on its own position alone.
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

constexpr int KEY_BLOCK = 32;  // keys widened to floats at a time, shared by all rows and heads
constexpr int KEYS_AHEAD = 16;  // keys that are fetched beforehand

// Neighbouring rows of one sequence: at consecutive positions, or alternatives to each other, all at the same one.
struct Segment {
    int first_row;
    int rows;
    int position;            // of the first row
    int64_t offset;          // of the sequence's position 0 in the cache, in rows
    const int64_t* places;   // of alternatives: cache row of each one's own key, which stands for that at `position`

    int position_of(int row) const { return places ? position : position + row; }
    int end() const { return position_of(rows - 1) + 1; }
    // Of the keys (or values) from position 0 on: the own one of an alternative.
    const uint16_t* own(int row, const uint16_t* keys, int64_t width) const {
        return keys + (places[row] - offset) * width;
    }
};

struct HeadShape {
    int dim;
    int group;       // query heads per key-value head
    int64_t width;   // of a cache row: keys of all key-value heads, then their values
};

struct AttentionBuffers {
    std::vector<float> block;   // [KEY_BLOCK, dim]
    std::vector<float> scores;  // [queries, keys]
    std::vector<float> values;  // [queries, dim]
    std::vector<float> scale;   // [queries]
};

inline void widen_block(const uint16_t* rows, int64_t width, int count, int dim, float* block) {
    for (int key = 0; key < count; ++key) {
        // The processor doesn't foresee these steps: keys of one head lie a whole cache row apart.
        const char* ahead = (const char*)(rows + (key + KEYS_AHEAD) * width);
        for (int byte = 0; byte < 2 * dim; byte += 64) _mm_prefetch(ahead + byte, _MM_HINT_T0);
        for (int i = 0; i < dim; ++i) block[key * dim + i] = widen(rows[key * width + i]);
    }
}

// A block from key `first` on, as one row of the segment sees it.
inline void widen_own(const Segment& segment, int row, int first, const uint16_t* keys, const HeadShape& shape,
                      float* block) {
    if (!segment.places || segment.position >= first + KEY_BLOCK) return;
    const uint16_t* own = segment.own(row, keys, shape.width);
    for (int i = 0; i < shape.dim; ++i) block[(segment.position - first) * shape.dim + i] = widen(own[i]);
}

// Of four keys at a time; `dim` is a multiple of LANES.
inline void scores_of_four(const float* query, const float* block, int dim, float* scores) {
    Floats sums[4] = {};
    for (int i = 0; i < dim; i += LANES) {
        const Floats part = load(query + i);
        for (int key = 0; key < 4; ++key) sums[key] = fused(part, load(block + key * dim + i), sums[key]);
    }
    sum_four(sums, scores);
}

// Scores to weights exp(s - max); returns 1 / their sum. Sums run per lane, then over the lanes.
inline float soften(float* scores, int count, float factor) {
    const int padded = (count + LANES - 1) / LANES * LANES;
    for (int key = count; key < padded; ++key) scores[key] = scores[0];
    const float largest = largest_of(scores, padded);
    for (int key = 0; key < padded; key += LANES)
        store(scores + key, exponential((load(scores + key) - largest) * factor));
    for (int key = count; key < padded; ++key) scores[key] = 0;
    Floats sums = {};
    for (int key = 0; key < padded; key += LANES) sums += load(scores + key);
    return 1.0f / sum(sums);
}

template <int VECTORS_AT_ONCE>
inline int add_values(const float* weights, const float* block, int count, int dim, float* values, int from) {
    constexpr int SPAN = VECTORS_AT_ONCE * LANES;
    for (; from + SPAN <= dim; from += SPAN) {
        Floats sums[VECTORS_AT_ONCE];
        for (int v = 0; v < VECTORS_AT_ONCE; ++v) sums[v] = load(values + from + v * LANES);
        for (int key = 0; key < count; ++key) {
            const Floats weight = all(weights[key]);
            for (int v = 0; v < VECTORS_AT_ONCE; ++v)
                sums[v] = fused(weight, load(block + key * dim + from + v * LANES), sums[v]);
        }
        for (int v = 0; v < VECTORS_AT_ONCE; ++v) store(values + from + v * LANES, sums[v]);
    }
    return from;
}

// `queries`: [rows of the forward, stride], the group's heads side by side; `outputs` likewise. `keys`: the
// key-value head's keys at the sequence's position 0; its values lie `to_values` further.
inline void attend(const Segment& segment, const HeadShape& shape, const float* queries, const uint16_t* keys,
                   int64_t to_values, Activation* outputs, int64_t stride, AttentionBuffers& buffers) {
    const int dim = shape.dim, group = shape.group, count = segment.rows * group;
    const int longest = segment.end();
    const int64_t padded = (longest + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
    buffers.block.assign(size_t(KEY_BLOCK) * dim, 0.0f);
    buffers.scores.resize(size_t(count) * padded);
    buffers.values.assign(size_t(count) * dim, 0.0f);
    buffers.scale.resize(count);
    float* block = buffers.block.data();
    const auto visible = [&](int row, int first) { return std::min(KEY_BLOCK, segment.position_of(row) + 1 - first); };
    for (int first = 0; first < longest; first += KEY_BLOCK) {
        widen_block(keys + first * shape.width, shape.width, std::min(KEY_BLOCK, longest - first), dim, block);
        for (int query = 0; query < count; ++query) {
            const int row = query / group, keys_seen = visible(row, first);
            widen_own(segment, row, first, keys, shape, block);
            const float* one = queries + (segment.first_row + row) * stride + query % group * dim;
            float* scores = buffers.scores.data() + query * padded + first;
            // Up to three keys more than it sees: finite leftovers in the block, which `soften` drops.
            for (int key = 0; key < keys_seen; key += 4)
                scores_of_four(one, block + key * dim, dim, scores + key);
        }
    }
    const float factor = 1.0f / __builtin_sqrtf(float(dim));
    for (int query = 0; query < count; ++query)
        buffers.scale[query] =
            soften(buffers.scores.data() + query * padded, segment.position_of(query / group) + 1, factor);
    for (int first = 0; first < longest; first += KEY_BLOCK) {
        widen_block(keys + to_values + first * shape.width, shape.width, std::min(KEY_BLOCK, longest - first), dim,
                    block);
        for (int query = 0; query < count; ++query) {
            const float* weights = buffers.scores.data() + query * padded + first;
            float* values = buffers.values.data() + int64_t(query) * dim;
            const int seen = visible(query / group, first);
            widen_own(segment, query / group, first, keys + to_values, shape, block);
            int from = add_values<8>(weights, block, seen, dim, values, 0);
            from = add_values<4>(weights, block, seen, dim, values, from);
            add_values<1>(weights, block, seen, dim, values, from);
        }
    }
    for (int query = 0; query < count; ++query) {
        Activation* output = outputs + (segment.first_row + query / group) * stride + query % group * dim;
        for (int i = 0; i < dim; ++i) output[i] = activation(buffers.values[query * dim + i] * buffers.scale[query]);
    }
}
