// As much of HLSL as lifted kernels use, in C++.
#pragma once
#include "launch.h"

using uint = uint32_t;
WAVELIFT_VECTORS(uint, uint2, uint3)

struct ByteAddressBuffer {
    size_t binding;
    uint Load(uint offset) const { return launch::word(binding, offset); }
};
struct RWByteAddressBuffer : ByteAddressBuffer {
    void Store(uint offset, uint value) const { launch::word(binding, offset) = value; }
    void InterlockedMin(uint offset, uint value, uint &old) const {
        uint &word = launch::word(binding, offset);
        old = word;
        word = value < old ? value : old;
    }
};

template <class From> uint asuint(From value) { return launch::bits<uint>(value); }
template <class From> int asint(From value) { return launch::bits<int>(value); }
template <class From> float asfloat(From value) { return launch::bits<float>(value); }

template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T clamp(T a, std::type_identity_t<T> low, std::type_identity_t<T> high) {
    return min(max(a, T(low)), T(high));
}
inline float abs(float a) { return std::fabs(a); }
inline float floor(float a) { return std::floor(a); }
inline float ceil(float a) { return std::ceil(a); }
inline float trunc(float a) { return std::trunc(a); }
// HLSL's rounds halves to even.
inline float round(float a) { return std::nearbyint(a); }
inline float sqrt(float a) { return std::sqrt(a); }

// Of zero, HLSL's searches give -1.
inline uint firstbithigh(uint a) { return a == 0 ? ~0u : 31 - __builtin_clz(a); }
inline uint firstbitlow(uint a) { return a == 0 ? ~0u : __builtin_ctz(a); }
inline uint countbits(uint a) { return __builtin_popcount(a); }
