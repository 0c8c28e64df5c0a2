// Attention as in attention.h, in AMX tiles: the queries of one key-value head lie side by side in the 16 lanes.
//
//     scores  [32 keys, 16 queries] = keys [32, dim] (as they lie in the cache)  x  queries [dim, 16]
//     outputs [16 queries, dim]    += weights [16, 32 keys]  x  values [32, dim]
//
// Blocks of 32 keys stand at absolute positions, keys that a row doesn't see weigh nothing, and sums go up the positions:
// a row's bits depend on its own position alone. Weights are rounded to bf16, and so is what they are divided by.
// Alternatives share all blocks but the last, which is taken once for each with its own key and value in place.
#pragma once

#include "attention.h"
#include "tiles.h"

constexpr int TILE_KEYS = 32, TILE_QUERIES = 16;

struct TileAttentionBuffers {
    std::vector<int32_t> queries;   // [dim / 2 pairs, 16]
    std::vector<float> scores;      // [keys, 16]
    std::vector<int32_t> weights;   // [keys / 32, 16 queries, 16 pairs]
    std::vector<float> outputs;     // [16, dim]
    std::vector<uint16_t> block;    // [32, dim]: the last keys or values, filled up with zeros
};

// Can the rows of one segment be the lanes of a tile? A matter of the model alone.
inline bool fits_tiles(const HeadShape& shape) { return shape.dim % 32 == 0 && shape.group <= TILE_QUERIES; }

// Rows of the cache from `first` on, 32 of them; those from `end` on are zeros. `own` stands for the last one.
struct KeyBlock {
    const uint16_t* rows;
    int64_t width;

    KeyBlock(const uint16_t* cache, const HeadShape& shape, int first, int end, std::vector<uint16_t>& spare,
             const uint16_t* own = nullptr)
        : rows(cache + first * shape.width), width(shape.width) {
        const int ahead = std::min(2 * TILE_KEYS, end - first);
        for (int key = TILE_KEYS; key < ahead; ++key)
            for (int i = 0; i < shape.dim; i += 32) _mm_prefetch((const char*)(rows + key * width + i), _MM_HINT_T0);
        if (end - first >= TILE_KEYS && !own) return;
        spare.assign(size_t(TILE_KEYS) * shape.dim, 0);
        for (int key = 0; key < end - first; ++key)
            memcpy(&spare[size_t(key) * shape.dim], rows + key * width, size_t(shape.dim) * 2);
        if (own) memcpy(&spare[size_t(end - first - 1) * shape.dim], own, size_t(shape.dim) * 2);
        rows = spare.data();
        width = shape.dim;
    }
};

inline Floats choose(Ints condition, Floats yes, Floats no) { return condition ? yes : no; }

inline void score_block(const KeyBlock& keys, int dim, const int32_t* queries, float* scores) {
    _tile_zero(0);
    _tile_zero(1);
    for (int i = 0; i < dim; i += 32) {
        _tile_loadd(4, queries + i / 2 * TILE_QUERIES, TILE_BYTES);
        _tile_loadd(6, keys.rows + i, keys.width * 2);
        _tile_dpbf16ps(0, 6, 4);
        _tile_loadd(7, keys.rows + 16 * keys.width + i, keys.width * 2);
        _tile_dpbf16ps(1, 7, 4);
    }
    _tile_stored(0, scores, TILE_BYTES);
    _tile_stored(1, scores + 16 * TILE_QUERIES, TILE_BYTES);
}

// The last block, whose last key is another one for each row.
inline void score_own(const Segment& segment, const HeadShape& shape, const uint16_t* keys, int first, float* scores,
                      TileAttentionBuffers& buffers) {
    alignas(64) float others[TILE_KEYS * TILE_QUERIES];
    for (int row = 0; row < segment.rows; ++row) {
        const KeyBlock block(keys, shape, first, segment.end(), buffers.block, segment.own(row, keys, shape.width));
        score_block(block, shape.dim, buffers.queries.data(), others);
        for (int key = 0; key < TILE_KEYS; ++key)
            for (int query = row * shape.group; query < (row + 1) * shape.group; ++query)
                scores[key * TILE_QUERIES + query] = others[key * TILE_QUERIES + query];
    }
}

// Scores of one query to weights exp(s - most), of the keys up to `last`; returns their sums, each lane's own.
inline Floats soften_query(TileAttentionBuffers& buffers, int query, int longest, int last, Floats most,
                           Floats factor) {
    const Ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Floats sums = {};
    for (int first = 0; first < longest; first += TILE_KEYS) {
        const float* scores = buffers.scores.data() + int64_t(first) * TILE_QUERIES + query;
        int32_t* weights = buffers.weights.data() + int64_t(first) / TILE_KEYS * TILE_PAIRS * TILE_QUERIES;
        for (int half = 0; half < 2; ++half) {
            const Ints keys = lanes + (first + 16 * half);
            const Floats one =
                (Floats)_mm512_i32gather_ps((__m512i)(lanes * TILE_QUERIES), scores + 16 * half * TILE_QUERIES, 4);
            const Floats weight = choose(keys <= last - Ints{}, rounded(exponential((one - most) * factor)), Floats{});
            sums += weight;
            const __m256i narrowed = _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)weight, 16));
            _mm256_storeu_si256((__m256i*)(weights + query * TILE_PAIRS + 8 * half), narrowed);
        }
    }
    return sums;
}

// Outputs of up to four times 16 dimensions from `first` on.
inline void mix_values(const Segment& segment, const uint16_t* values, const HeadShape& shape, int first, int longest,
                       const int32_t* weights, TileAttentionBuffers& buffers) {
    const int vectors = std::min(4, (shape.dim - first) / 16);
    alignas(64) int32_t pairs[4][TILE_PAIRS * 16];  // [vector][pair of keys, 16 dimensions]
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const auto add = [&](const KeyBlock& block, const int32_t* weights) {
        for (int pair = 0; pair < TILE_PAIRS; ++pair) {
            const uint16_t* low = block.rows + 2 * pair * block.width + first;
            for (int v = 0; v < vectors; ++v) {
                const auto wide = [&](const uint16_t* from) {
                    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(from + 16 * v)));
                };
                const __m512i both = _mm512_or_si512(wide(low), _mm512_slli_epi32(wide(low + block.width), 16));
                _mm512_store_si512(pairs[v] + pair * 16, both);
            }
        }
        _tile_loadd(4, weights, TILE_BYTES);
        _tile_loadd(5, pairs[0], TILE_BYTES);
        _tile_dpbf16ps(0, 4, 5);
        if (vectors > 1) {
            _tile_loadd(6, pairs[1], TILE_BYTES);
            _tile_dpbf16ps(1, 4, 6);
        }
        if (vectors > 2) {
            _tile_loadd(7, pairs[2], TILE_BYTES);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (vectors > 3) {
            _tile_loadd(5, pairs[3], TILE_BYTES);
            _tile_dpbf16ps(3, 4, 5);
        }
    };
    for (int key = 0; key < longest; key += TILE_KEYS, weights += TILE_QUERIES * TILE_PAIRS) {
        if (!segment.places || longest - key > TILE_KEYS) {
            add(KeyBlock(values, shape, key, longest, buffers.block), weights);
            continue;
        }
        for (int row = 0; row < segment.rows; ++row) {  // the others' queries weigh nothing: they add zeros
            alignas(64) int32_t own[TILE_QUERIES * TILE_PAIRS] = {};
            const int from = row * shape.group * TILE_PAIRS;
            memcpy(own + from, weights + from, size_t(shape.group) * TILE_PAIRS * sizeof(int32_t));
            add(KeyBlock(values, shape, key, longest, buffers.block, segment.own(row, values, shape.width)), own);
        }
    }
    float* to = buffers.outputs.data() + first;
    const int64_t bytes = int64_t(shape.dim) * 4;
    _tile_stored(0, to, bytes);
    if (vectors > 1) _tile_stored(1, to + 16, bytes);
    if (vectors > 2) _tile_stored(2, to + 32, bytes);
    if (vectors > 3) _tile_stored(3, to + 48, bytes);
}

// As `attend` (attention.h), for segments of at most 16 queries.
inline void attend_in_tiles(const Segment& segment, const HeadShape& shape, const float* queries, const uint16_t* keys,
                            int64_t to_values, Activation* outputs, int64_t stride, TileAttentionBuffers& buffers) {
    const int dim = shape.dim, group = shape.group, count = segment.rows * group;
    const int longest = segment.end();
    const int blocks = (longest + TILE_KEYS - 1) / TILE_KEYS;
    buffers.queries.assign(size_t(dim) / 2 * TILE_QUERIES, 0);
    buffers.scores.resize(size_t(blocks) * TILE_KEYS * TILE_QUERIES);
    buffers.weights.resize(size_t(blocks) * TILE_PAIRS * TILE_QUERIES);
    buffers.outputs.resize(size_t(TILE_QUERIES) * dim);
    Ints last = {};  // the last position that each query sees
    for (int query = 0; query < TILE_QUERIES; ++query) {
        last[query] = segment.position_of(std::min(query / group, segment.rows - 1));
        if (query >= count) continue;
        const float* from = queries + (segment.first_row + query / group) * stride + query % group * dim;
        for (int i = 0; i < dim; i += 2)
            buffers.queries[i / 2 * TILE_QUERIES + query] = narrow(from[i]) | int32_t(narrow(from[i + 1])) << 16;
    }
    shape_tiles(TILE_ROWS, TILE_ROWS);
    Floats most = all(-3.0e38f);
    for (int first = 0; first < longest; first += TILE_KEYS) {
        float* scores = buffers.scores.data() + int64_t(first) * TILE_QUERIES;
        if (segment.places && longest - first <= TILE_KEYS)
            score_own(segment, shape, keys, first, scores, buffers);
        else
            score_block(KeyBlock(keys, shape, first, longest, buffers.block), dim, buffers.queries.data(), scores);
        for (int key = 0; key < TILE_KEYS && first + key < longest; ++key) {
            const Floats one = load(scores + key * TILE_QUERIES);
            const Floats seen = choose((first + key - Ints{}) <= last, one, most);
            most = choose((Ints)(seen > most), seen, most);
        }
    }
    const Floats factor = all(1.0f / __builtin_sqrtf(float(dim)));
    float totals[TILE_QUERIES];
    for (int query = 0; query < count; ++query)
        totals[query] = sum(soften_query(buffers, query, longest, last[query], all(most[query]), factor));
    for (int first = 0; first < dim; first += 64)
        mix_values(segment, keys + to_values, shape, first, longest, buffers.weights.data(), buffers);
    _tile_release();
    for (int query = 0; query < count; ++query) {
        Activation* output = outputs + (segment.first_row + query / group) * stride + query % group * dim;
        const float* values = buffers.outputs.data() + int64_t(query) * dim;
        const float scale = 1.0f / totals[query];
        for (int i = 0; i < dim; ++i) output[i] = activation(values[i] * scale);
    }
}
