/* closures - what C++ makes of kernels: lambdas that capture by value and by reference, accessors, templates, methods.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "harness.h"

constexpr uint32_t N = 384;

static std::vector<float> x(N);

/* A function object that came in a buffer, called with the iteration's number. */
template <class F> struct Closure {
    static void kernel(IDS, const F *function, uint32_t) { (*function)(i); }
};

/* parallel_for over a function object that writes `results` in linear memory; then the same in a plain loop. */
template <class T, class F> static void parallel_for(const char *name, uint32_t n, std::span<T> results, F function) {
    wl_buffer buffer;
    (void)new_array(&buffer, sizeof buffer, WL_READ); /* opens the device */
    expect(name, "create_buffer returned", wl_create_buffer(device, sizeof function, WL_READ, &buffer));
    expect(name, "write_buffer returned", wl_write_buffer(&function, sizeof function, buffer));
    auto kernel = reinterpret_cast<wl_kernel>(&Closure<F>::kernel);
    expect(name, "parallel_for returned", wl_parallel_for(kernel, n, 64, &buffer, 1, nullptr, 0));
    std::vector<T> got(results.begin(), results.end());
    std::fill(results.begin(), results.end(), T{});
    for (uint32_t i = 0; i < n; i++) {
        Closure<F>::kernel(static_cast<int32_t>(i), static_cast<int32_t>(n), 64, &function, sizeof function);
    }
    auto bytes = std::as_bytes(std::span(got)), expected = std::as_bytes(std::span<const T>(results));
    for (size_t at = 0; at < bytes.size(); at++) {
        if (bytes[at] != expected[at]) {
            wrong(name, "the first wrong byte is at", at);
            break;
        }
    }
    auto *first = reinterpret_cast<const uint8_t *>(bytes.data());
    put(1, name);
    put(1, " ");
    put_hex(1, add_to_checksum(0xcbf29ce484222325u, first, static_cast<uint32_t>(bytes.size())));
    put(1, "\n");
}

/* Captures pointers and scalars by value; what it writes is on the heap. */
static void by_value() {
    std::vector<float> y(N);
    parallel_for<float>("by_value", N, y, [from = x.data(), to = y.data(), scale = 1.75f](uint32_t i) {
        to[i] = scale * from[i] + from[(i * 7) % N];
    });
}

/* Captures by reference: the closure points into this frame, and what it finds there to the heap. */
static void by_reference() {
    std::vector<float> y(N), z = x;
    float scale = -0.5f;
    std::array<float, 4> taps = {0.1f, 0.2f, 0.3f, 0.4f};
    parallel_for<float>("by_reference", N, y, [&](uint32_t i) {
        float sum = 0;
        for (uint32_t k = 0; k < taps.size(); k++) {
            sum += taps[k] * z[(i + k) % z.size()];
        }
        y[i] = scale * sum;
    });
}

static float table_of_squares[N];

/* Writes a global array: static data, which lie below the stack. */
static void to_static_data() {
    parallel_for<float>("to_static_data", N, table_of_squares, [](uint32_t i) { table_of_squares[i] = x[i] * x[i]; });
}

/* An array in the caller's frame. */
static void to_frame() {
    std::array<double, N> sums{};
    parallel_for<double>("to_frame", N, sums, [&](uint32_t i) {
        sums[i] = std::accumulate(x.begin() + i / 2, x.begin() + i, 0.0);
    });
}

/* A pointer and a shape, as libraries' accessors are. */
template <class T> class Accessor {
  public:
    Accessor(T *data, uint32_t width, uint32_t height) : data_(data), width_(width), height_(height) {}
    uint32_t width() const { return width_; }
    uint32_t height() const { return height_; }
    T &operator()(uint32_t x, uint32_t y) const { return data_[y * width_ + x]; }
    T clamped(int32_t x, int32_t y) const {
        return (*this)(static_cast<uint32_t>(std::clamp<int32_t>(x, 0, static_cast<int32_t>(width_) - 1)),
                       static_cast<uint32_t>(std::clamp<int32_t>(y, 0, static_cast<int32_t>(height_) - 1)));
    }

  private:
    T *data_;
    uint32_t width_, height_;
};

class Blur {
  public:
    Blur(Accessor<const float> from, Accessor<float> to) : from_(from), to_(to) {}
    void operator()(uint32_t i) const {
        uint32_t x = i % from_.width(), y = i / from_.width();
        float sum = 0;
        for (int32_t d = -1; d <= 1; d++) {
            sum += from_.clamped(static_cast<int32_t>(x) + d, static_cast<int32_t>(y) - d);
        }
        to_(x, y) = sum / 3;
    }

  private:
    Accessor<const float> from_;
    Accessor<float> to_;
};

static void accessors() {
    std::vector<float> y(N);
    parallel_for<float>("accessors", N, y, Blur({x.data(), 24, N / 24}, {y.data(), 24, N / 24}));
}

/* Accessors of buffers: the first kernel stores its own pointers in a buffer, the next takes them from there. */
struct View {
    const float *from;
    float *to;
};

static void store_view(IDS, const float *from, uint32_t, float *to, uint32_t, View *view, uint32_t) { *view = {from, to}; }

static void through_view(IDS, const View *view, uint32_t, const float *, uint32_t, float *, uint32_t) {
    view->to[i] = view->from[num_iterations - 1 - i] * 3 + static_cast<float>(block_size);
}

static void views() {
    static float to[N];
    View view{};
    uint32_t bytes = N * sizeof(float);
    array from_array = new_array(x.data(), bytes, WL_READ), to_array = ARRAY(to, WL_WRITE);
    array view_array = new_array(&view, sizeof view, WL_READ_WRITE);
    wl_buffer list[] = {from_array.buffer, to_array.buffer, view_array.buffer};
    auto kernel = reinterpret_cast<wl_kernel>(&store_view);
    expect("store_view", "parallel_for returned", wl_parallel_for(kernel, 1, 64, list, 1, list + 1, 2));
    put(1, "store_view\n"); /* its bytes are addresses, which are the device's own */
    view = {x.data(), to};
    view_array.access = WL_READ; /* not compared */
    LAUNCH(through_view, N, 32, 2, &view_array, &from_array, &to_array);
}

/* A base class with virtual methods; each invocation makes its own object. */
struct Curve {
    virtual ~Curve() = default;
    virtual float at(float x) const = 0;
    float slope(float x) const { return (at(x + 0.25f) - at(x - 0.25f)) * 2; }
};

struct Parabola final : Curve {
    float a;
    explicit Parabola(float a) : a(a) {}
    float at(float x) const override { return a * x * x; }
};

struct Hyperbola final : Curve {
    float at(float x) const override { return 1 / (std::fabs(x) + 1); }
};

static void virtual_methods(IDS, const float *x, uint32_t, float *y, uint32_t) {
    Parabola parabola(x[0]);
    Hyperbola hyperbola;
    const Curve *curve = i % 3 == 0 ? static_cast<const Curve *>(&hyperbola) : &parabola;
    y[i] = curve->at(x[i]) + curve->slope(x[i]);
}

/* A template over a number, algorithms on a local array, a structured binding. */
template <size_t K> static float trimmed_mean(const float *x, uint32_t i) {
    std::array<float, K> values;
    for (size_t k = 0; k < K; k++) {
        values[k] = x[(i + 5 * k) % N];
    }
    auto [least, most] = std::minmax_element(values.begin(), values.end());
    return (std::accumulate(values.begin(), values.end(), 0.0f) - *least - *most) / (K - 2);
}

static void templates(IDS, const float *x, uint32_t, float *y, uint32_t) {
    auto at = static_cast<uint32_t>(i);
    y[i] = i % 2 ? trimmed_mean<5>(x, at) : trimmed_mean<9>(x, at);
}

/* std::sort calls itself. */
static void sorted(IDS, const float *x, uint32_t, float *y, uint32_t) {
    std::array<float, 7> values;
    std::copy_n(x + i * 7 % (N - 7), values.size(), values.begin());
    std::sort(values.begin(), values.end(), [](float a, float b) { return a > b; });
    y[i] = values[2];
}

static void methods() {
    static float y[N], z[N], thirds[N];
    array x_array = new_array(x.data(), N * sizeof(float), WL_READ), y_array = ARRAY(y, WL_WRITE), z_array = ARRAY(z, WL_WRITE),
          thirds_array = ARRAY(thirds, WL_WRITE);
    LAUNCH(virtual_methods, N, 64, 1, &x_array, &y_array);
    LAUNCH(templates, N, 64, 1, &x_array, &z_array);
    LAUNCH(sorted, N, 64, 1, &x_array, &thirds_array);
}

int main() {
    fill_floats(x.data(), N, 12, -2, 2);
    by_value();
    by_reference();
    to_static_data();
    to_frame();
    accessors();
    views();
    methods();
    return finish();
}
