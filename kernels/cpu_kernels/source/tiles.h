// y = x W^T in AMX tiles: up to 32 rows share each weight, and cost little more than one.
//
// 16 pairs of inputs of a panel (linear.h) are one B tile as they lie: 16 rows of 64 bytes. An output goes up the pairs in
// one chain, in whatever company, so that a row's bits don't depend on the others.
//
//     A [rows, 32 inputs]   B [16 pairs, 16 outputs]   C [rows, 16 outputs] += A B        (TDPBF16PS)
#pragma once

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vectors.h"

constexpr int TILE_PAIRS = 16, TILE_ROWS = 16, TILE_BYTES = 64;
constexpr int TILES_AHEAD = 2;  // B tiles of a panel that are fetched beforehand

// The kernel hands out the tiles' registers once per process, and may refuse.
inline bool may_use_tiles() {
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

struct alignas(64) TileShapes {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {};  // per row
    uint8_t rows[16] = {};
};

// Tiles 0 to 3: sums; 4 and 5: inputs; 6 and 7: weights. `low` and `high` rows of two blocks; 0: one block alone.
inline void shape_tiles(int low, int high) {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.bytes[tile] = TILE_BYTES;
    for (int tile : {0, 1, 4}) shapes.rows[tile] = uint8_t(low);
    for (int tile : {2, 3, 5}) shapes.rows[tile] = uint8_t(high ? high : low);
    for (int tile : {6, 7}) shapes.rows[tile] = TILE_PAIRS;
    _tile_loadconfig(&shapes);
}

inline void fetch_tile(const int32_t* weights) {
    for (int line = 0; line < TILE_PAIRS; ++line)
        _mm_prefetch((const char*)weights + line * TILE_BYTES, _MM_HINT_T0);
}

// One block of rows, one panel: a single stream of weights, which is what memory likes; it is the bottleneck here.
inline void one_block(const int32_t* weights, const Activation* inputs, int64_t stride, int pairs, float* outputs,
                      int64_t width) {
    _tile_zero(0);
    for (int pair = 0; pair < pairs; pair += TILE_PAIRS, weights += TILE_PAIRS * 16, inputs += 2 * TILE_PAIRS) {
        fetch_tile(weights + TILES_AHEAD * TILE_PAIRS * 16);
        _tile_loadd(4, inputs, stride * 2);
        _tile_loadd(6, weights, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
    }
    _tile_stored(0, outputs, width * 4);
}

// Two blocks of rows, two panels or one.
template <int PANELS>
inline void two_blocks(const int32_t* weights, const Activation* inputs, int64_t stride, int pairs, float* outputs,
                       int64_t width) {
    const int64_t panel = int64_t(pairs) * 16, step = TILE_PAIRS * 16;
    _tile_zero(0);
    _tile_zero(2);
    if (PANELS > 1) {
        _tile_zero(1);
        _tile_zero(3);
    }
    for (int pair = 0; pair < pairs; pair += TILE_PAIRS, weights += step, inputs += 2 * TILE_PAIRS) {
        for (int p = 0; p < PANELS; ++p) fetch_tile(weights + p * panel + TILES_AHEAD * step);
        _tile_loadd(4, inputs, stride * 2);
        _tile_loadd(5, inputs + TILE_ROWS * stride, stride * 2);
        _tile_loadd(6, weights, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
        if (PANELS > 1) {
            _tile_loadd(7, weights + panel, TILE_BYTES);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    float* second = outputs + TILE_ROWS * width;
    _tile_stored(0, outputs, width * 4);
    _tile_stored(2, second, width * 4);
    if (PANELS > 1) {
        _tile_stored(1, outputs + 16, width * 4);
        _tile_stored(3, second + 16, width * 4);
    }
}

// As `multiply` (linear.h); `pairs` is a multiple of TILE_PAIRS.
inline void multiply_in_tiles(const int32_t* weights, int panels, const Activation* inputs, int64_t stride, int rows,
                              int pairs, float* outputs, int64_t width) {
    const int64_t size = int64_t(pairs) * 16;
    for (int row = 0; row < rows; row += 2 * TILE_ROWS) {
        const int low = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
        const int rest = rows - row - low, high = rest < TILE_ROWS ? rest : TILE_ROWS;
        const Activation* from = inputs + row * stride;
        float* to = outputs + row * width;
        shape_tiles(low, high);
        int panel = 0;
        for (; high && panel + 2 <= panels; panel += 2)
            two_blocks<2>(weights + panel * size, from, stride, pairs, to + panel * 16, width);
        for (; panel < panels; ++panel)
            (high ? two_blocks<1> : one_block)(weights + panel * size, from, stride, pairs, to + panel * 16, width);
    }
    _tile_release();  // what a thread holds, the system saves at every switch
}
