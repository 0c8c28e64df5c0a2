// y = x W^T with weights of 8 bits, for what need not be exact: half the memory traffic of bf16.
//
// W [N, K] lies in panels of 16 outputs as in linear.h, a byte a weight, with a scale per output. Inputs are rounded to
// whole numbers with one scale per row, as fine as a 32-bit sum of K products allows (13 bits and a sign for K = 1,536),
// so that sums are exact: they depend on neither the tile nor the processor.
#pragma once

#include "vectors.h"

struct ByteMatrix {
    const int8_t* panels;  // [ceil(N / 16), K / 2, 16, 2]
    const float* scales;   // [N], filled up to whole panels
};

constexpr int BYTE_PANEL = 16, BYTE_VECTORS = BYTE_PANEL / LANES;
constexpr int BYTES_AHEAD = 1024;  // bytes of a panel that are fetched beforehand

// Two weights per lane, widened to 16 bits.
inline Ints widen_bytes(const int8_t* from) {
#if defined(EMULATE_WIDE)
    Ints values;
    for (int i = 0; i < LANES; ++i) values[i] = (uint16_t)from[2 * i] | uint32_t((uint16_t)from[2 * i + 1]) << 16;
    return values;
#elif defined(__AVX512BW__)
    return (Ints)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)from));
#else
    return (Ints)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)from));
#endif
}

inline Ints dot_shorts(Ints sums, Ints weights, Ints inputs) {  // two 16-bit products per lane onto the sums
#if defined(EMULATE_WIDE)
    for (int i = 0; i < LANES; ++i)
        sums[i] += int16_t(weights[i]) * int16_t(inputs[i]) + (weights[i] >> 16) * (inputs[i] >> 16);
    return sums;
#elif defined(__AVX512VNNI__)
    return (Ints)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)weights, (__m512i)inputs);
#elif defined(__AVX512BW__)
    return sums + (Ints)_mm512_madd_epi16((__m512i)weights, (__m512i)inputs);
#else
    return sums + (Ints)_mm256_madd_epi16((__m256i)weights, (__m256i)inputs);
#endif
}

// Rounds `size` values to whole numbers; returns the scale.
inline float to_shorts(const float* values, int size, int16_t* to) {
    float largest = 0;
    for (int i = 0; i < size; ++i) largest = __builtin_fabsf(values[i]) > largest ? __builtin_fabsf(values[i]) : largest;
    const int exact = int(0x7fffffff / (128ll * size));
    const float most = float(exact < 32767 ? exact : 32767);
    const float factor = largest > 0 ? most / largest : 0.0f;
    for (int i = 0; i < size; ++i) to[i] = int16_t(__builtin_rintf(values[i] * factor));
    return largest / most;
}

template <int ROWS, int PANELS>
inline void byte_tile(const int8_t* weights, const int16_t* inputs, int64_t stride, int pairs, const float* scales,
                      const float* row_scales, float* outputs, int64_t width) {
    constexpr int COLUMNS = PANELS * BYTE_VECTORS;
    Ints sums[ROWS][COLUMNS] = {};
    const int16_t* rows[ROWS];
    for (int r = 0; r < ROWS; ++r) rows[r] = inputs + r * stride;
    const int64_t size = int64_t(pairs) * 2 * BYTE_PANEL;
    for (int64_t pair = 0; pair < pairs; ++pair) {
        const int8_t* here = weights + pair * 2 * BYTE_PANEL;
        if (pair % 2 == 0)
            for (int p = 0; p < PANELS; ++p) _mm_prefetch((const char*)(here + p * size + BYTES_AHEAD), _MM_HINT_T0);
        Ints shared[COLUMNS];
        for (int c = 0; c < COLUMNS; ++c)
            shared[c] = widen_bytes(here + c / BYTE_VECTORS * size + c % BYTE_VECTORS * 2 * LANES);
        for (int r = 0; r < ROWS; ++r) {
            int32_t two;
            memcpy(&two, rows[r] + 2 * pair, 4);
            const Ints both = two - Ints{};
            for (int c = 0; c < COLUMNS; ++c) sums[r][c] = dot_shorts(sums[r][c], shared[c], both);
        }
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c)
            store(outputs + r * width + c * LANES,
                  __builtin_convertvector(sums[r][c], Floats) * (load(scales + c * LANES) * row_scales[r]));
}

template <int ROWS>
inline void byte_rows(const ByteMatrix& matrix, int first, int panels, const int16_t* inputs, int64_t stride, int pairs,
                      const float* row_scales, float* outputs, int64_t width) {
    constexpr int AT_ONCE = LANES == 16 ? (ROWS <= 2 ? 8 : ROWS <= 4 ? 4 : 2) : ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1;
    const int64_t size = int64_t(pairs) * 2 * BYTE_PANEL;
    int panel = 0;
    const auto from = [&] { return matrix.panels + (first + panel) * size; };
    const auto scales = [&] { return matrix.scales + (first + panel) * BYTE_PANEL; };
    for (; panel + AT_ONCE <= panels; panel += AT_ONCE)
        byte_tile<ROWS, AT_ONCE>(from(), inputs, stride, pairs, scales(), row_scales, outputs + panel * BYTE_PANEL, width);
    for (; panel < panels; ++panel)
        byte_tile<ROWS, 1>(from(), inputs, stride, pairs, scales(), row_scales, outputs + panel * BYTE_PANEL, width);
}

// outputs [rows, panels * 16] (row stride `width`): `panels` of the matrix from `first` on, times inputs [rows, 2 * pairs]
inline void multiply_bytes(const ByteMatrix& matrix, int first, int panels, const int16_t* inputs, int64_t stride,
                           int rows, int pairs, const float* row_scales, float* outputs, int64_t width) {
    for (int row = 0; row < rows;) {
        const auto take = [&](auto count) {
            byte_rows<count()>(matrix, first, panels, inputs + row * stride, stride, pairs, row_scales + row,
                               outputs + row * width, width);
            row += count();
        };
        const int rest = rows - row;
        if (rest >= 8 && LANES == 16) take(std::integral_constant<int, 8>());
        else if (rest >= 4) take(std::integral_constant<int, 4>());
        else if (rest >= 2) take(std::integral_constant<int, 2>());
        else take(std::integral_constant<int, 1>());
    }
}
