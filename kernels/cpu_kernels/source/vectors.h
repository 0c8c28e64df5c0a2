// Vectors of floats, bf16 and the exponential, for AVX2 and AVX-512 with or without BF16 dot products.
//
// Every sum below is written in one order (no contraction, no reassociation: -ffp-contract=off, no -ffast-math), so that
// a row's bits are the same in every tile shape, row count and thread count on one machine.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#if !defined(__AVX2__) || !defined(__FMA__)
#error "needs AVX2 and FMA at least"
#endif

// EMULATE_WIDE: the AVX-512 BF16 code path on a machine that has only AVX2, for tests.
#if defined(EMULATE_WIDE) || defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

inline Floats fused(Floats a, Floats b, Floats c) {  // a * b + c, rounded once
#if defined(EMULATE_WIDE)
    for (int i = 0; i < LANES; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#elif defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
}

inline Floats all(float value) { return value - Floats{}; }

inline Floats load(const float* from) {
    Floats values;
    memcpy(&values, from, sizeof values);
    return values;
}

inline void store(float* to, Floats values) { memcpy(to, &values, sizeof values); }

inline float sum(Floats values) {  // halves onto each other: one fixed tree
    float lanes[LANES];
    store(lanes, values);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    return lanes[0];
}

// Of `count` values, a multiple of LANES.
inline float largest_of(const float* values, int64_t count) {
    Floats most = load(values);
    for (int64_t i = LANES; i < count; i += LANES) {
        const Floats here = load(values + i);
        most = here > most ? here : most;
    }
    float largest = most[0];
    for (int lane = 1; lane < LANES; ++lane) largest = most[lane] > largest ? most[lane] : largest;
    return largest;
}

// Where the first of the largest of `count` values, a multiple of LANES, stands.
inline int64_t place_of_largest(const float* values, int64_t count) {
    const float largest = largest_of(values, count);
    int64_t place = 0;
    while (values[place] < largest) ++place;
    return place;
}

// The sums of four vectors at once, each by the same fixed tree (not the tree of `sum`).
inline void sum_four(const Floats* values, float* to) {
#if defined(EMULATE_WIDE) || defined(__AVX512F__)
    __m256 half[4];
    for (int i = 0; i < 4; ++i) {
        float lanes[LANES];
        store(lanes, values[i]);
        half[i] = _mm256_add_ps(_mm256_loadu_ps(lanes), _mm256_loadu_ps(lanes + 8));
    }
#else
    const __m256 half[4] = {(__m256)values[0], (__m256)values[1], (__m256)values[2], (__m256)values[3]};
#endif
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

inline float widen(uint16_t value) {
    uint32_t bits = uint32_t(value) << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

inline uint16_t narrow(float value) {  // to the nearest bf16, ties to even
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float rounded(float value) { return widen(narrow(value)); }

inline Floats rounded(Floats values) {
    const Ints bits = (Ints)values;
    return (Floats)((bits + 0x7fff + ((bits >> 16) & 1)) & int32_t(0xffff0000));
}

// Activations, rounded to bf16: as bf16 pairs where the processor multiplies those, else as floats.
#if defined(__AVX512BF16__) || defined(EMULATE_WIDE)
#define PAIRED 1
typedef uint16_t Activation;
inline Activation activation(float value) { return narrow(value); }
inline Activation from_bf16(uint16_t value) { return value; }
inline float plain_value(Activation value) { return widen(value); }
#else
#define PAIRED 0
typedef float Activation;
inline Activation activation(float value) { return rounded(value); }
inline Activation from_bf16(uint16_t value) { return widen(value); }
inline float plain_value(Activation value) { return value; }
#endif

#if PAIRED
inline Floats dot_pairs(Floats sums, Ints weights, Ints inputs) {  // two bf16 products per lane onto the sums
#if defined(EMULATE_WIDE)
    sums = fused((Floats)(weights << 16), (Floats)(inputs << 16), sums);
    return fused((Floats)(weights & int32_t(0xffff0000)), (Floats)(inputs & int32_t(0xffff0000)), sums);
#else
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)weights, (__m512bh)inputs);
#endif
}
#endif

// e^x to about one unit in the last place; below -87 as at -87.
inline Floats exponential(Floats x) {
    const Floats least = all(-87.0f), most = all(88.0f);
    x = x < least ? least : x;
    x = x > most ? most : x;
    Floats whole = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the nearest whole number
    const Floats scale = (Floats)(((Ints)whole + 127) << 23);
    whole -= 12582912.0f;
    const Floats rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats series = all(1.9875691500e-4f);
    series = series * rest + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    return (series * rest * rest + rest + 1.0f) * scale;
}
