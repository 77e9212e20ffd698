/* values - what C++ makes of types by value: variants, optionals, tuples, views of strings, guards of scopes, matrices by
 * templates, members by pointer, arrays that algorithms work on.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <variant>

#include "harness.h"

#define KERNEL(name) static void name(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t)

struct Circle {
    float radius;
};
struct Box {
    float width, height;
};
struct Triangle {
    float a, b, c;
};
using Shape = std::variant<Circle, Box, Triangle, std::monostate>;

static Shape make(const uint32_t *p) {
    switch (p[0] % 4) {
    case 0: return Circle{unit(p[1])};
    case 1: return Box{unit(p[1]), unit(p[2])};
    case 2: return Triangle{unit(p[1]) + 1, unit(p[2]) + 1, unit(p[3]) + 1};
    default: return std::monostate{};
    }
}

struct Area {
    float operator()(Circle c) const { return 3.14f * c.radius * c.radius; }
    float operator()(Box b) const { return b.width * b.height; }
    float operator()(Triangle t) const {
        float p = (t.a + t.b + t.c) / 2;
        return std::sqrt(p * (p - t.a) * (p - t.b) * (p - t.c));
    }
    float operator()(std::monostate) const { return -1; }
};

KERNEL(variants) {
    Shape shape = make(x + i * 4);
    float area = std::visit(Area{}, shape);
    if (auto *circle = std::get_if<Circle>(&shape)) {
        area += circle->radius;
    }
    put_float(y + i, area);
}

static std::optional<uint32_t> multiple(std::span<const uint32_t> words, uint32_t of) {
    for (uint32_t word : words) {
        if (word % of == 0) {
            return word;
        }
    }
    return std::nullopt;
}

KERNEL(optionals) {
    auto a = multiple({x + i * 8, 8}, 5), b = multiple({x + i * 8, 8}, 11);
    auto [sum, most] = std::tuple(a.value_or(1) + b.value_or(2), std::max(a, b));
    y[i * 2] = a && b ? *a ^ *b : sum;
    y[i * 2 + 1] = most.value_or(7);
}

static constexpr std::string_view TEXT = "the quick brown fox jumps over the lazy dog";

KERNEL(views) {
    auto rest = TEXT.substr(x[i] % 20);
    uint32_t words = 0, hash = 0;
    while (!rest.empty()) {
        auto end = rest.find(' ');
        auto word = rest.substr(0, end);
        words++;
        for (char c : word) {
            hash = hash * 31 + static_cast<uint32_t>(c);
        }
        if (word == "fox") {
            hash ^= 0xf0f;
        }
        rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    }
    y[i * 2] = words;
    y[i * 2 + 1] = hash;
}

struct Guard {
    uint32_t &value;
    explicit Guard(uint32_t &value) : value(value) { value++; }
    ~Guard() { value *= 3; }
};

static uint32_t guarded(uint32_t x) {
    uint32_t value = x;
    Guard outer(value);
    if (x & 1) {
        Guard inner(value);
        if (x & 2) {
            return value + 5;
        }
    }
    for (uint32_t k = 0; k < 3; k++) {
        Guard each(value);
        if (k == (x >> 2 & 3)) {
            break;
        }
        value ^= 9;
    }
    return value;
}

KERNEL(guards) { y[i] = guarded(x[i]); }

template <int R, int C> struct Matrix {
    std::array<std::array<float, C>, R> rows{};
    template <int K> Matrix<R, K> operator*(const Matrix<C, K> &other) const {
        Matrix<R, K> product;
        for (int r = 0; r < R; r++) {
            for (int k = 0; k < K; k++) {
                for (int c = 0; c < C; c++) {
                    product.rows[r][k] += rows[r][c] * other.rows[c][k];
                }
            }
        }
        return product;
    }
};

KERNEL(matrices) {
    Matrix<3, 4> a;
    Matrix<4, 2> b;
    for (int k = 0; k < 12; k++) {
        a.rows[k / 4][k % 4] = unit(x[i * 20 + k]);
    }
    for (int k = 0; k < 8; k++) {
        b.rows[k / 2][k % 2] = unit(x[i * 20 + 12 + k]);
    }
    auto product = a * b;
    for (int k = 0; k < 6; k++) {
        put_float(y + i * 6 + k, product.rows[k / 2][k % 2]);
    }
}

KERNEL(algorithms) {
    std::array<uint32_t, 12> words;
    std::copy_n(x + i * 12, 12, words.begin());
    for (auto p = words.begin(); p != words.end(); ++p) {
        std::rotate(std::upper_bound(words.begin(), p, *p), p, p + 1);
    }
    std::bitset<70> bits;
    for (uint32_t word : words) {
        bits.set(word % 70);
    }
    y[i * 4] = words[5];
    y[i * 4 + 1] = std::accumulate(words.begin(), words.end(), 0u);
    y[i * 4 + 2] = static_cast<uint32_t>((bits << 3 ^ ~bits >> 5).count());
    y[i * 4 + 3] = static_cast<uint32_t>(std::lower_bound(words.begin(), words.end(), 1u << 31) - words.begin());
}

int main() {
    RUN(variants, 60, 4, 1);
    RUN(optionals, 60, 8, 2);
    RUN(views, 60, 1, 2);
    RUN(guards, 60, 1, 1);
    RUN(matrices, 60, 20, 6);
    RUN(algorithms, 60, 12, 4);
    return finish();
}
