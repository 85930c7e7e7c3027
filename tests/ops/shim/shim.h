// What the files of cuda/ need of CUDA, for a CPU: g++ -include shim.h runs them as they are.
//
// The 32 threads of a warp are fibers. Each runs alone until it meets the others at a shuffle, a ballot or a
// __syncwarp; the last to come there lets all go on. That they really meet, all of them and at one place of the source,
// is checked. Warps run one after another: they share nothing in these kernels, and what a barrier, an atomic or the
// memory model of a GPU might do to them is not to be seen here.

#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

using std::abs;
using std::max;
using std::min;

struct Triple {
    int x, y, z;
};

inline Triple threadIdx, blockIdx;

namespace shim {

constexpr int LANES = 32;
constexpr int STACK = 256 * 1024;

struct Place {  // where a lane waits
    const char* what;
    const char* file;
    int line;

    bool operator==(const Place& other) const {
        return line == other.line && std::string(what) == other.what && std::string(file) == other.file;
    }
};

struct Lane {
    ucontext_t start;
    jmp_buf resume;
    std::unique_ptr<char[]> stack{new char[STACK]};
    bool started, done;
    Place place;
};

struct Warp {
    jmp_buf scheduler;
    Lane lanes[LANES];
    std::uint64_t brought[2][LANES];  // what the lanes bring to a meeting; the next one has the other half
    int meeting = 0;
    int running = 0;
    const char* failure = nullptr;
    void (*body)(void*) = nullptr;
    void* arguments = nullptr;
};

inline Warp warp;

// From the scheduler to a lane and back. ucontext makes the stacks; to change between them by it would be a call of
// the system each time.
__attribute__((noinline)) inline void go_on(Lane& lane) {
    if (_setjmp(warp.scheduler)) return;
    if (lane.started) _longjmp(lane.resume, 1);
    lane.started = true;
    setcontext(&lane.start);
}

__attribute__((noinline)) inline void pause(Lane& lane) {
    if (!_setjmp(lane.resume)) _longjmp(warp.scheduler, 1);
}

inline void enter() {
    warp.body(warp.arguments);
    warp.lanes[warp.running].done = true;
    pause(warp.lanes[warp.running]);
}

// Brings `value` to a meeting of all lanes and returns what each of them brought.
template <class T>
const std::uint64_t* meet(unsigned mask, T value, Place place) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t), "a lane brings one number");
    if (mask != 0xffffffffu) warp.failure = "a mask that leaves lanes out";
    const std::uint64_t* all = warp.brought[warp.meeting % 2];
    std::memcpy(&warp.brought[warp.meeting % 2][warp.running], &value, sizeof(T));
    warp.lanes[warp.running].place = place;
    pause(warp.lanes[warp.running]);
    return all;
}

template <class T>
T of_lane(const std::uint64_t* all, int lane) {
    T value;
    std::memcpy(&value, &all[lane % LANES], sizeof(T));
    return value;
}

inline std::string told(int lane) {
    const Lane& of = warp.lanes[lane];
    const std::string place = std::string(of.place.what) + ", " + of.place.file + ":" + std::to_string(of.place.line);
    return "lane " + std::to_string(lane) + (of.done ? " has ended" : " waits at " + place);
}

// Runs `body` once for each lane of a warp, from the last lane on if `backwards`.
inline void run_warp(void (*body)(void*), void* arguments, int first_thread, bool backwards) {
    warp.body = body;
    warp.arguments = arguments;
    warp.meeting = 0;
    warp.failure = nullptr;
    for (Lane& lane : warp.lanes) {
        lane.started = lane.done = false;
        getcontext(&lane.start);
        lane.start.uc_stack.ss_sp = lane.stack.get();
        lane.start.uc_stack.ss_size = STACK;
        lane.start.uc_link = nullptr;
        makecontext(&lane.start, enter, 0);
    }
    for (; !warp.lanes[0].done; ++warp.meeting) {
        for (int turn = 0; turn < LANES; ++turn) {
            warp.running = backwards ? LANES - 1 - turn : turn;
            threadIdx = {first_thread + warp.running, 0, 0};
            go_on(warp.lanes[warp.running]);
        }
        if (warp.failure) throw std::runtime_error(warp.failure);
        for (int lane = 1; lane < LANES; ++lane) {
            const bool together = warp.lanes[lane].done == warp.lanes[0].done &&
                                  (warp.lanes[0].done || warp.lanes[lane].place == warp.lanes[0].place);
            if (!together) throw std::runtime_error(told(0) + ", but " + told(lane));
        }
    }
}

// The arguments of a kernel as the driver takes them: an array of pointers to each.
template <class... Types>
struct Call {
    void (*kernel)(Types...);
    void** arguments;

    template <std::size_t... index>
    void with(std::index_sequence<index...>) {
        kernel(*static_cast<Types*>(arguments[index])...);
    }

    static void run(void* self) { static_cast<Call*>(self)->with(std::index_sequence_for<Types...>()); }
};

// Runs a whole grid of blocks of `threads`; returns what went wrong, or nothing.
template <class... Types>
const char* launch(void (*kernel)(Types...), int count, Triple grid, int threads, void** arguments, bool backwards) {
    static std::string error;
    Call<Types...> call{kernel, arguments};
    try {
        const int expected = sizeof...(Types);
        if (count != expected) throw std::runtime_error("expected " + std::to_string(expected) + " arguments");
        for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
            for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
                for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
                    for (int first = 0; first < threads; first += LANES)
                        run_warp(Call<Types...>::run, &call, first, backwards);
    } catch (const std::exception& wrong) {
        error = wrong.what();
        return error.c_str();
    }
    return nullptr;
}

}  // namespace shim

// A kernel for the outside, as run_<kernel>: null, or a message.
#define SHIM_EXPORT(kernel)                                                                           \
    extern "C" const char* run_##kernel(                                                              \
        int count, int x, int y, int z, int threads, void** arguments, int backwards) {               \
        return shim::launch(kernel, count, {x, y, z}, threads, arguments, backwards != 0);            \
    }

// What brings lanes together, and the place of the caller, in the source of the kernels.
#define SHIM_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, SHIM_CALLER) {
    return shim::of_lane<T>(shim::meet(mask, value, {"__shfl_sync", file, line}), lane);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, SHIM_CALLER) {
    const std::uint64_t* all = shim::meet(mask, value, {"__shfl_xor_sync", file, line});
    return shim::of_lane<T>(all, shim::warp.running ^ lanes);
}

inline unsigned __ballot_sync(unsigned mask, int vote, SHIM_CALLER) {
    const std::uint64_t* votes = shim::meet(mask, vote != 0, {"__ballot_sync", file, line});
    unsigned ballot = 0;
    for (int lane = 0; lane < shim::LANES; ++lane) ballot |= unsigned(shim::of_lane<bool>(votes, lane)) << lane;
    return ballot;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, SHIM_CALLER) { shim::meet(mask, 0, {"__syncwarp", file, line}); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }

inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}

inline float __int_as_float(int bits) { return __uint_as_float(unsigned(bits)); }

// IEEE halves: 5 bits of exponent, 10 of fraction; to nearest, ties to even.
inline float half_to_float(unsigned short half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? std::ldexp(float(fraction), -24)
                                       : std::ldexp(float(fraction + 1024), exponent - 25);
    return half & 0x8000 ? -size : size;
}

inline unsigned short float_to_half(float x) {
    const unsigned short sign = std::signbit(x) ? 0x8000 : 0;
    if (std::isnan(x)) return 0x7fff;
    const float size = std::fabs(x);
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent = std::max(std::ilogb(size == 0 ? 1e-30f : size), -14);
    int fraction = int(std::nearbyint(std::ldexp(size, 10 - exponent)));  // with the leading 1, which a carry may move
    if (fraction == 2048) {
        fraction = 1024;
        ++exponent;
    }
    return sign | (fraction < 1024 ? fraction : (exponent + 15) << 10 | (fraction - 1024));
}

// The product of matching.cu: rows of two octets, `upper` and `lower`, with columns of one, over 16 channels in pairs of
// halves. Lane 4 g + t brings row g and column g, two pairs each, and gets row g at columns 2 t and 2 t + 1.
inline void multiply_add(
    float (&upper_score)[2], float (&lower_score)[2],
    const unsigned* upper, const unsigned* lower, const unsigned* column, SHIM_CALLER) {
    std::uint64_t brought[3][shim::LANES];  // a meeting's numbers last until the next but one
    const unsigned* parts[] = {upper, lower, column};
    for (int part = 0; part < 3; ++part) {
        const std::uint64_t pairs = parts[part][0] | std::uint64_t(parts[part][1]) << 32;
        std::memcpy(brought[part], shim::meet(~0u, pairs, {"multiply_add", file, line}), sizeof(brought[part]));
    }
    const auto half = [&](int part, int lane, int channel) { return half_to_float(brought[part][lane] >> 16 * channel); };
    const int g = shim::warp.running / 4, t = shim::warp.running % 4;
    for (int lane = 0; lane < 4; ++lane)
        for (int channel = 0; channel < 4; ++channel) {
            const float of_upper = half(0, 4 * g + lane, channel), of_lower = half(1, 4 * g + lane, channel);
            for (int i = 0; i < 2; ++i) {
                const float of_column = half(2, 4 * (2 * t + i) + lane, channel);
                upper_score[i] += of_upper * of_column;
                lower_score[i] += of_lower * of_column;
            }
        }
}
