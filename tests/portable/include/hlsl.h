// As much of HLSL as lifted kernels use, in C++.
#pragma once
#include "launch.h"

using uint = uint32_t;
WAVELIFT_VECTORS(uint, uint2, uint3, uint4)

// HLSL takes a scalar's component several times: `a.xxxx` is written as `a->*splat_xxxx` for C++, and `a.xx` so, too.
template <class T> struct Splat {};
constexpr Splat<uint4> splat_xxxx;
constexpr Splat<uint2> splat_xx;
template <class T> T operator->*(uint value, Splat<T>) { return T(value); }

struct ByteAddressBuffer {
    size_t binding;
    uint Load(uint offset) const { return launch::word(binding, offset); }
    uint2 Load2(uint offset) const { return uint2(Load(offset), Load(offset + 4)); }
    uint4 Load4(uint offset) const { return uint4(Load(offset), Load(offset + 4), Load(offset + 8), Load(offset + 12)); }
};
struct RWByteAddressBuffer : ByteAddressBuffer {
    void Store(uint offset, uint value) const { launch::word(binding, offset) = value; }
    void Store2(uint offset, uint2 value) const {
        Store(offset, value.x);
        Store(offset + 4, value.y);
    }
    void Store4(uint offset, uint4 value) const {
        Store2(offset, uint2(value.x, value.y));
        Store2(offset + 8, uint2(value.z, value.w));
    }
    void InterlockedExchange(uint offset, uint value, uint &old) const {
        uint &word = launch::word(binding, offset);
        old = word;
        word = value;
    }
    void InterlockedMin(uint offset, uint value, uint &old) const {
        uint before = Load(offset);
        InterlockedExchange(offset, value < before ? value : before, old);
    }
    void InterlockedAnd(uint offset, uint value, uint &old) const {
        InterlockedExchange(offset, Load(offset) & value, old);
    }
    void InterlockedOr(uint offset, uint value, uint &old) const {
        InterlockedExchange(offset, Load(offset) | value, old);
    }
    void InterlockedXor(uint offset, uint value, uint &old) const {
        InterlockedExchange(offset, Load(offset) ^ value, old);
    }
    void InterlockedAdd(uint offset, uint value, uint &old) const {
        InterlockedExchange(offset, Load(offset) + value, old);
    }
    void InterlockedCompareExchange(uint offset, uint compare, uint value, uint &old) const {
        uint before = Load(offset);
        InterlockedExchange(offset, before == compare ? value : before, old);
    }
};

template <class From> uint asuint(From value) { return launch::bits<uint>(value); }
inline uint2 asuint(uint2 value) { return value; }
inline uint4 asuint(uint4 value) { return value; }
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
