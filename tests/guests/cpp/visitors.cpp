/* visitors - methods that change their object, and methods of objects that call methods of others, all of local objects. Functions
 * of their types that the C library keeps in the same table call the host.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <cstdint>
#include <new>

#include "harness.h"

constexpr uint32_t N = 200, NODES = 6;

/* Methods of one type with functions that close files. */
struct Shape {
    virtual float area(float scale) const = 0;
    virtual uint32_t corners() const { return 0; }
};

struct Disc final : Shape {
    float radius;
    explicit Disc(float radius) : radius(radius) {}
    float area(float scale) const override { return scale * scale * radius * radius * 3.0f; }
};

struct Box : Shape {
    float width, height;
    Box(float width, float height) : width(width), height(height) {}
    float area(float scale) const override { return scale * scale * width * height; }
    uint32_t corners() const override { return 4; }
};

struct Frame final : Box {
    Box hole;
    Frame(float outer, float inner) : Box(outer, outer), hole(inner, inner) {}
    float area(float scale) const override { return Box::area(scale) - hole.area(scale); }
    uint32_t corners() const override { return 8; }
};

static void shapes(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    Disc disc((float)(x[i] >> 28));
    Box box((float)(x[i] >> 12 & 15), 2.0f);
    Frame frame(9.0f, (float)(x[i] & 7));
    const Shape *const all[3] = {&disc, &box, &frame};
    float sum = 0;
    uint32_t corners = 0;
    for (uint32_t k = 0; k < 4; k++) {
        const Shape *shape = all[((x[i] >> 8) + k) % 3];
        sum = sum * 0.5f + shape->area(2.0f);
        corners = corners * 10 + shape->corners();
    }
    y[i] = corners * 1000u + (uint32_t)sum;
}

struct Counter {
    uint32_t count = 0;
    virtual uint32_t step() { return ++count; }
};

struct Doubler : Counter {
    uint32_t step() override { return count = count * 2 + 1; }
};

static void counters(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    Counter plain;
    Doubler doubler;
    Counter *const both[2] = {&plain, &doubler};
    uint32_t sum = 0;
    for (uint32_t k = 0; k < 10; k++) {
        sum = sum * 3 + both[x[i] >> k & 1]->step();
    }
    y[i] = sum ^ plain.count ^ doubler.count << 16;
}

/* Double dispatch: all of these methods have one type in Wasm, so that they seem to call each other. */
struct Leaf;
struct Sum;
struct Visitor {
    virtual void on(const Leaf &) = 0;
    virtual void on(const Sum &) = 0;
};

struct Node {
    virtual void accept(Visitor &) const = 0;
};

struct Leaf final : Node {
    uint32_t value;
    explicit Leaf(uint32_t value) : value(value) {}
    void accept(Visitor &visitor) const override { visitor.on(*this); }
};

struct Sum final : Node {
    uint32_t first, second;
    Sum(uint32_t first, uint32_t second) : first(first), second(second) {}
    void accept(Visitor &visitor) const override { visitor.on(*this); }
};

struct Evaluate final : Visitor {
    uint32_t values[NODES], at = 0;
    void on(const Leaf &leaf) override { values[at++] = leaf.value; }
    void on(const Sum &sum) override { values[at] = values[sum.first] + values[sum.second] * 3, at++; }
};

struct Depth final : Visitor {
    uint32_t depths[NODES], at = 0;
    void on(const Leaf &) override { depths[at++] = 1; }
    void on(const Sum &sum) override {
        uint32_t a = depths[sum.first], b = depths[sum.second];
        depths[at++] = (a > b ? a : b) + 1;
    }
};

static void visited(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    alignas(8) unsigned char memory[NODES][16];
    const Node *nodes[NODES];
    for (uint32_t k = 0; k < NODES; k++) {
        uint32_t word = x[i] >> k;
        nodes[k] = k < 2 || word % 3 == 0 ? static_cast<const Node *>(new (memory[k]) Leaf(word))
                                          : new (memory[k]) Sum(word % k, (word >> 3) % k);
    }
    Evaluate evaluate;
    Depth depth;
    Visitor *const visitors[2] = {&evaluate, &depth};
    for (const Node *node : nodes) {
        for (Visitor *visitor : visitors) {
            node->accept(*visitor);
        }
    }
    y[i] = evaluate.values[NODES - 1] * 8 + depth.depths[NODES - 1];
}

int main() {
    static uint32_t x[N], y[N];
    uint32_t state = 1;
    for (uint32_t k = 0; k < N; k++) {
        x[k] = state = state * 1664525u + 1013904223u;
    }
    array x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_READ_WRITE);
    LAUNCH(shapes, N, 64, 1, &x_array, &y_array);
    LAUNCH(counters, N, 64, 1, &x_array, &y_array);
    LAUNCH(visited, N, 64, 1, &x_array, &y_array);
    return finish();
}
