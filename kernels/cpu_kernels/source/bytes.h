// y = x W^T with weights of 8 bits: half the memory traffic of bf16.
//
// W [N, K] lies in panels of 16 outputs as in linear.h, but by four inputs, a byte a weight, with a scale per output.
// Inputs are rounded to whole numbers with one scale per row, as fine as a 32-bit sum of K products allows (13 bits and a
// sign for K = 1,536), so that sums are exact: a row's bits depend on neither its company, nor the tile, nor the
// instructions, which may therefore be chosen by what is fastest.
//
//     panel p:  [quad 0: (w[16p][0] w[16p][2] w[16p][1] w[16p][3]) (w[16p + 1][0] ...) ... 16 of them] [quad 1: ...] ...
//
// The two inner inputs change places, so that the even and the odd bytes of a lane, widened to 16 bits, are neighbours.
#pragma once

#include <type_traits>
#include <vector>

#include "vectors.h"
#ifdef __AMX_INT8__
#include "tiles.h"
#endif

struct ByteMatrix {
    const int8_t* panels;  // [ceil(N / 16), K / 4, 16, 4]
    const float* scales;   // [N], filled up to whole panels
};

typedef uint32_t Unsigned __attribute__((vector_size(4 * LANES)));

constexpr int BYTE_PANEL = 16, BYTE_VECTORS = BYTE_PANEL / LANES;
constexpr int BYTES_AHEAD = 1024;  // bytes of a panel that are fetched beforehand
constexpr int BYTE_TILE = 64;      // inputs of a tile
constexpr int FEWEST_TILE_ROWS = 3;  // fewer are faster without tiles

// What enters a multiplication: rows [R, K] as whole numbers, times the row's scale.
class ByteInputs {
   public:
    void resize(int rows, int size) {
        size_ = size;
        whole_.resize(size_t(rows) * size);
        scales_.resize(rows);
#ifdef __AMX_INT8__
        halves_.resize(2 * whole_.size());
#endif
    }

    // `size` values of one row; `size` is a multiple of 16.
    void round(int row, const float* values) {
        Floats most = {};
        for (int i = 0; i < size_; i += LANES) {
            const Floats value = load(values + i), size = value < 0.0f ? -value : value;
            most = size > most ? size : most;
        }
        float largest = most[0];
        for (int lane = 1; lane < LANES; ++lane) largest = most[lane] > largest ? most[lane] : largest;
        const int exact = int(0x7fffffff / (128ll * size_));
        const float limit = float(exact < 32767 ? exact : 32767);
        const float factor = largest > 0 ? limit / largest : 0.0f;
        int16_t* to = &whole_[int64_t(row) * size_];
        for (int i = 0; i < size_; ++i) to[i] = int16_t(__builtin_rintf(values[i] * factor));
        scales_[row] = largest / limit;
#ifdef __AMX_INT8__
        split(row);
#endif
    }

    const int16_t* whole(int row) const { return &whole_[int64_t(row) * size_]; }
    const float* scales(int row) const { return &scales_[row]; }
    int size() const { return size_; }
#ifdef __AMX_INT8__
    // Of the bytes of a row [2, K]: whole = 256 * the first (signed) + the second (not); in the panels' order.
    const uint8_t* halves(int row) const { return &halves_[2 * int64_t(row) * size_]; }
#endif

   private:
    int size_ = 0;
    std::vector<int16_t> whole_;
    std::vector<float> scales_;
#ifdef __AMX_INT8__
    std::vector<uint8_t> halves_;

    void split(int row) {
        constexpr int ORDER[] = {0, 2, 1, 3};
        const int16_t* from = whole(row);
        uint8_t* high = &halves_[2 * int64_t(row) * size_];
        uint8_t* low = high + size_;
        for (int quad = 0; quad < size_; quad += 4)
            for (int i = 0; i < 4; ++i) {
                high[quad + i] = uint8_t(from[quad + ORDER[i]] >> 8);
                low[quad + i] = uint8_t(from[quad + ORDER[i]]);
            }
    }
#endif
};

// Of each lane's four bytes, those at even (0) or odd (1) places, widened to 16 bits.
template <int PLACE>
inline Ints widen_bytes(Ints bytes) {
#if defined(EMULATE_WIDE)
    for (int i = 0; i < LANES; ++i) {
        const uint32_t lane = uint32_t(bytes[i]) >> 8 * PLACE;
        bytes[i] = int32_t(uint32_t(uint16_t(int8_t(lane))) | uint32_t(uint16_t(int8_t(lane >> 16))) << 16);
    }
    return bytes;
#elif defined(__AVX512BW__)
    const __m512i from = PLACE ? (__m512i)bytes : _mm512_slli_epi16((__m512i)bytes, 8);
    return (Ints)_mm512_srai_epi16(from, 8);
#else
    const __m256i from = PLACE ? (__m256i)bytes : _mm256_slli_epi16((__m256i)bytes, 8);
    return (Ints)_mm256_srai_epi16(from, 8);
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

inline Floats scaled(Ints sums, const float* scales, float row_scale) {
    return __builtin_convertvector(sums, Floats) * (load(scales) * row_scale);
}

template <int ROWS, int PANELS>
inline void byte_tile(const int8_t* weights, const float* scales, const ByteInputs& inputs, int row, float* outputs,
                      int64_t width) {
    constexpr int COLUMNS = PANELS * BYTE_VECTORS;
    Ints sums[ROWS][COLUMNS] = {};
    const int16_t* rows[ROWS];
    for (int r = 0; r < ROWS; ++r) rows[r] = inputs.whole(row + r);
    const int64_t size = int64_t(inputs.size()) * BYTE_PANEL;
    for (int64_t first = 0; first < inputs.size(); first += 4) {
        const int8_t* here = weights + first * BYTE_PANEL;
        for (int p = 0; p < PANELS; ++p) _mm_prefetch((const char*)(here + p * size + BYTES_AHEAD), _MM_HINT_T0);
        Ints quads[COLUMNS];
        for (int c = 0; c < COLUMNS; ++c)
            memcpy(&quads[c], here + c / BYTE_VECTORS * size + c % BYTE_VECTORS * 4 * LANES, sizeof quads[c]);
        const auto add = [&](auto place) {
            Ints weight[COLUMNS];
            for (int c = 0; c < COLUMNS; ++c) weight[c] = widen_bytes<place()>(quads[c]);
            for (int r = 0; r < ROWS; ++r) {
                int32_t two;
                memcpy(&two, rows[r] + first + 2 * place(), 4);
                const Ints both = two - Ints{};
                for (int c = 0; c < COLUMNS; ++c) sums[r][c] = dot_shorts(sums[r][c], weight[c], both);
            }
        };
        add(std::integral_constant<int, 0>());
        add(std::integral_constant<int, 1>());
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c)
            store(outputs + r * width + c * LANES, scaled(sums[r][c], scales + c * LANES, *inputs.scales(row + r)));
}

template <int ROWS>
inline void byte_rows(const ByteMatrix& matrix, int first, int panels, const ByteInputs& inputs, int row, float* outputs,
                      int64_t width) {
    constexpr int AT_ONCE = LANES == 16 ? (ROWS <= 2 ? 8 : ROWS <= 4 ? 4 : 2) : ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1;
    const int64_t size = int64_t(inputs.size()) * BYTE_PANEL;
    int panel = 0;
    const auto take = [&](auto count) {
        byte_tile<ROWS, count()>(matrix.panels + (first + panel) * size, matrix.scales + (first + panel) * BYTE_PANEL,
                                 inputs, row, outputs + panel * BYTE_PANEL, width);
        panel += count();
    };
    while (panel + AT_ONCE <= panels) take(std::integral_constant<int, AT_ONCE>());
    while (panel < panels) take(std::integral_constant<int, 1>());
}

#ifdef __AMX_INT8__
// Up to 16 rows in AMX tiles, one or two panels: the high and the low bytes of the inputs each times the same weights.
template <int PANELS>
inline void byte_block(const int8_t* weights, const float* scales, const ByteInputs& inputs, int row, int rows,
                       float* outputs, int64_t width) {
    const int64_t size = int64_t(inputs.size()) * BYTE_PANEL, stride = 2 * int64_t(inputs.size());
    const uint8_t* high = inputs.halves(row);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int first = 0; first < inputs.size(); first += BYTE_TILE, weights += BYTE_TILE * BYTE_PANEL) {
        for (int p = 0; p < PANELS; ++p)
            fetch_tile((const int32_t*)(weights + p * size + TILES_AHEAD * BYTE_TILE * BYTE_PANEL));
        _tile_loadd(4, high + first, stride);
        _tile_loadd(5, high + inputs.size() + first, stride);
        _tile_loadd(6, weights, TILE_BYTES);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbusd(1, 5, 6);
        if (PANELS > 1) {
            _tile_loadd(7, weights + size, TILE_BYTES);
            _tile_dpbssd(2, 4, 7);
            _tile_dpbusd(3, 5, 7);
        }
    }
    alignas(64) int32_t sums[4][TILE_ROWS * BYTE_PANEL];
    _tile_stored(0, sums[0], TILE_BYTES);
    _tile_stored(1, sums[1], TILE_BYTES);
    _tile_stored(2, sums[2], TILE_BYTES);
    _tile_stored(3, sums[3], TILE_BYTES);
    for (int p = 0; p < PANELS; ++p)
        for (int r = 0; r < rows; ++r) {
            Unsigned large, small;  // their sum fits, 256 times the large ones alone may not
            memcpy(&large, sums[2 * p] + r * BYTE_PANEL, sizeof large);
            memcpy(&small, sums[2 * p + 1] + r * BYTE_PANEL, sizeof small);
            store(outputs + r * width + p * BYTE_PANEL,
                  scaled((Ints)(large * 256u + small), scales + p * BYTE_PANEL, *inputs.scales(row + r)));
        }
}

inline void multiply_bytes_in_tiles(const ByteMatrix& matrix, int first, int panels, const ByteInputs& inputs, int rows,
                                    float* outputs, int64_t width) {
    const int64_t size = int64_t(inputs.size()) * BYTE_PANEL;
    for (int row = 0; row < rows; row += TILE_ROWS) {
        const int count = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
        shape_tiles(count, 0);
        for (int panel = 0; panel < panels; panel += 2)
            (panel + 2 <= panels ? byte_block<2> : byte_block<1>)(
                matrix.panels + (first + panel) * size, matrix.scales + (first + panel) * BYTE_PANEL, inputs, row, count,
                outputs + row * width + panel * BYTE_PANEL, width);
    }
    _tile_release();  // what a thread holds, the system saves at every switch
}
#endif

// outputs [rows, panels * 16] (row stride `width`): `panels` of the matrix from `first` on, times the first `rows` inputs
inline void multiply_bytes(const ByteMatrix& matrix, int first, int panels, const ByteInputs& inputs, int rows,
                           float* outputs, int64_t width) {
#ifdef __AMX_INT8__
    if (rows >= FEWEST_TILE_ROWS && inputs.size() % BYTE_TILE == 0)
        return multiply_bytes_in_tiles(matrix, first, panels, inputs, rows, outputs, width);
#endif
    for (int row = 0; row < rows;) {
        const auto take = [&](auto count) {
            byte_rows<count()>(matrix, first, panels, inputs, row, outputs + row * width, width);
            row += count();
        };
        const int rest = rows - row;
        if (rest >= 8 && LANES == 16) take(std::integral_constant<int, 8>());
        else if (rest >= 4) take(std::integral_constant<int, 4>());
        else if (rest >= 2) take(std::integral_constant<int, 2>());
        else take(std::integral_constant<int, 1>());
    }
}
