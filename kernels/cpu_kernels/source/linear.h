// y = x W^T for few rows, each weight read once from memory.
//
// W [N, K] lies in panels of 16 outputs: panel p holds, for each pair of inputs (2k, 2k + 1), 16 pairs of bf16 weights.
// Sums of one output of one row go up the pairs in one chain, whatever the tile: that is what makes rows independent.
//
//     panel p:  [pair 0: (w[16p][0], w[16p][1]) (w[16p + 1][0], w[16p + 1][1]) ... 16 of them] [pair 1: ...] ...
#pragma once

#include "vectors.h"
#ifdef __AMX_BF16__
#include "tiles.h"
#endif

constexpr int PANEL = 16;
constexpr int VECTORS = PANEL / LANES;  // per panel
constexpr int AHEAD = 32;                 // pairs of inputs whose weights are fetched beforehand: the processor's own
                                          // prefetching stops at a page and doesn't keep up with several rows

template <int ROWS, int PANELS>
inline void tile(const int32_t* weights, const Activation* inputs, int64_t stride, int pairs, float* outputs,
                 int64_t width) {
    constexpr int COLUMNS = PANELS * VECTORS;
    Floats sums[ROWS][COLUMNS] = {};
    const Activation* rows[ROWS];
    for (int r = 0; r < ROWS; ++r) rows[r] = inputs + r * stride;
    const int32_t* panel[PANELS];
    for (int p = 0; p < PANELS; ++p) panel[p] = weights + int64_t(p) * pairs * PANEL;
    for (int64_t input = 0; input < 2 * int64_t(pairs); input += 2) {
        for (int p = 0; p < PANELS; ++p)
            _mm_prefetch((const char*)(panel[p] + input * (PANEL / 2) + AHEAD * PANEL), _MM_HINT_T0);
        const auto weight = [&](int c) {
            Ints value;
            memcpy(&value, panel[c / VECTORS] + input * (PANEL / 2) + c % VECTORS * LANES, sizeof value);
            return value;
        };
#if PAIRED
        Ints shared[COLUMNS];
        for (int c = 0; c < COLUMNS; ++c) shared[c] = weight(c);
        for (int r = 0; r < ROWS; ++r) {
            int32_t two;
            memcpy(&two, rows[r] + input, 4);
            const Ints both = two - Ints{};
            for (int c = 0; c < COLUMNS; ++c) sums[r][c] = dot_pairs(sums[r][c], shared[c], both);
        }
#else
        for (int half = 0; half < 2; ++half) {
            const auto factor = [&](int c) {
                return (Floats)(half ? weight(c) & int32_t(0xffff0000) : weight(c) << 16);
            };
            const auto value = [&](int r) { return all(rows[r][input + half]); };
            // The shorter side stays in registers.
            if constexpr (ROWS > COLUMNS) {
                Floats factors[COLUMNS];
                for (int c = 0; c < COLUMNS; ++c) factors[c] = factor(c);
                for (int r = 0; r < ROWS; ++r) {
                    const Floats one = value(r);
                    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = fused(factors[c], one, sums[r][c]);
                }
            } else {
                Floats values[ROWS];
                for (int r = 0; r < ROWS; ++r) values[r] = value(r);
                for (int c = 0; c < COLUMNS; ++c) {
                    const Floats one = factor(c);
                    for (int r = 0; r < ROWS; ++r) sums[r][c] = fused(one, values[r], sums[r][c]);
                }
            }
        }
#endif
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) store(outputs + r * width + c * LANES, sums[r][c]);
}

// Panels that a tile of so many rows takes at once: enough independent sums to hide the latency, few enough registers.
constexpr int panels_at_once(int rows) {
    if (LANES == 16) return rows <= 4 ? 4 : 2;
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

// How many of the remaining rows the next tile takes.
inline int rows_at_once(int rows) {
    if (LANES == 16) return rows < 8 ? rows : 8;
    return rows <= 5 ? rows : rows == 6 ? 4 : 5;
}

template <int ROWS>
inline void rows_by_panels(const int32_t* weights, int panels, const Activation* inputs, int64_t stride, int pairs,
                           float* outputs, int64_t width) {
    constexpr int AT_ONCE = panels_at_once(ROWS);
    const int64_t size = int64_t(pairs) * PANEL;
    int panel = 0;
    for (; panel + AT_ONCE <= panels; panel += AT_ONCE)
        tile<ROWS, AT_ONCE>(weights + panel * size, inputs, stride, pairs, outputs + panel * PANEL, width);
    for (; panel < panels; ++panel)
        tile<ROWS, 1>(weights + panel * size, inputs, stride, pairs, outputs + panel * PANEL, width);
}

// outputs [rows, panels * 16] (row stride `width`) of inputs [rows, 2 * pairs] (row stride `stride`)
inline void multiply(const int32_t* weights, int panels, const Activation* inputs, int64_t stride, int rows, int pairs,
                     float* outputs, int64_t width) {
#ifdef __AMX_BF16__
    if (pairs % TILE_PAIRS == 0)  // a matter of the matrix alone: all of its rows go the same way
        return multiply_in_tiles(weights, panels, inputs, stride, rows, pairs, outputs, width);
#endif
    using Tiles = decltype(&rows_by_panels<1>);
    static constexpr Tiles TILES[] = {&rows_by_panels<1>, &rows_by_panels<2>, &rows_by_panels<3>, &rows_by_panels<4>,
                                      &rows_by_panels<5>,
#if defined(EMULATE_WIDE) || defined(__AVX512F__)
                                      &rows_by_panels<6>, &rows_by_panels<7>, &rows_by_panels<8>
#endif
    };
    for (int row = 0, count; row < rows; row += count) {
        count = rows_at_once(rows - row);
        TILES[count - 1](weights, panels, inputs + row * stride, stride, pairs, outputs + row * width, width);
    }
}
