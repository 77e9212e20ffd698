// The host of shader text that is compiled as C++: reads launches from standard input, runs them on the CPU and writes
// the buffers to standard output, each behind its length, all as 32-bit words.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

// The vector types of both languages, as far as kernels use them: made, taken apart, loaded and stored.
#define WAVELIFT_VECTORS(T, T2, T3, T4) \
    struct T2 { \
        T x = 0, y = 0; \
        T2() = default; \
        T2(T a, T b) : x(a), y(b) {} \
        explicit T2(T a) : x(a), y(a) {} \
        T &operator[](size_t lane) { return lane == 0 ? x : y; } \
        T operator[](size_t lane) const { return lane == 0 ? x : y; } \
    }; \
    struct T3 { T x = 0, y = 0, z = 0; T3() = default; T3(T a, T b, T c) : x(a), y(b), z(c) {} }; \
    struct T4 { \
        T x = 0, y = 0, z = 0, w = 0; \
        T4() = default; \
        T4(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {} \
        explicit T4(T a) : x(a), y(a), z(a), w(a) {} \
        T &operator[](size_t lane) { return lane == 0 ? x : lane == 1 ? y : lane == 2 ? z : w; } \
        T operator[](size_t lane) const { return lane == 0 ? x : lane == 1 ? y : lane == 2 ? z : w; } \
    };

namespace launch {

// The buffers of the launch at hand: the trap record, the slots, linear memory, the immediates.
inline std::vector<std::vector<uint32_t>> buffers;

[[noreturn]] inline void fail(const char *message, size_t number) {
    fprintf(stderr, "%s (%zu)\n", message, number);
    exit(1);
}

inline uint32_t *data(size_t index) {
    if (index >= buffers.size()) {
        fail("the shader binds a buffer that the launch does not have", index);
    }
    return buffers[index].data();
}

// The word at a byte offset, which must be within the buffer.
inline uint32_t &word(size_t index, size_t offset) {
    data(index);
    if (offset % 4 != 0 || offset / 4 >= buffers[index].size()) {
        fail("the shader leaves its buffer at this byte", offset);
    }
    return buffers[index][offset / 4];
}

// An array of an invocation's own. Arrays of C++ are neither returned nor checked.
template <class T, size_t Length> struct Array {
    T items[Length];
    T &operator[](size_t index) {
        if (index >= Length) {
            fail("the shader leaves its array at this index", index);
        }
        return items[index];
    }
};

template <class To, class From> To bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &value, sizeof to);
    return to;
}

inline void read_words(uint32_t *words, size_t count) {
    if (fread(words, sizeof *words, count, stdin) != count) {
        fail("the launches end early", 0);
    }
}

inline uint32_t read_word() {
    uint32_t word;
    read_words(&word, 1);
    return word;
}

// Runs launches of the kernels; a kernel is called with the number of its invocations.
inline int run_all(void (*const *kernels)(uint32_t invocations), size_t count) {
    for (uint32_t launches = read_word(); launches > 0; launches--) {
        uint32_t kernel = read_word();
        if (kernel >= count) {
            fail("a launch is of a kernel that is not there", kernel);
        }
        uint32_t invocations = read_word();
        buffers.resize(read_word());
        for (auto &buffer : buffers) {
            buffer.resize(read_word());
            read_words(buffer.data(), buffer.size());
        }
#ifdef WAVELIFT_FLUSH_SUBNORMALS
        // Flush results to zero, take operands for zero.
        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
        kernels[kernel](invocations);
        for (auto &buffer : buffers) {
            uint32_t length = buffer.size();
            fwrite(&length, sizeof length, 1, stdout);
            fwrite(buffer.data(), sizeof(uint32_t), buffer.size(), stdout);
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

} // namespace launch
