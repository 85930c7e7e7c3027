// The number type of a build. Tensors hold Scalar, -D ASTR_SCALAR=ASTR_FLOAT | ASTR_HALF | ASTR_BFLOAT16 | ASTR_DOUBLE;
// everything is computed in Real: float, or double for the build that gradients are checked with.
//
// There is no #include in this folder: the run-time compiler that comes with PyTorch has no CUDA headers beside it.

#define ASTR_FLOAT 1
#define ASTR_HALF 2
#define ASTR_BFLOAT16 3
#define ASTR_DOUBLE 4

#if ASTR_SCALAR == ASTR_DOUBLE

using Scalar = double;
using Real = double;

__device__ inline Real widen(Scalar x) { return x; }
__device__ inline Scalar narrow(Real x) { return x; }
__device__ inline Real larger(Real a, Real b) { return fmax(a, b); }
__device__ inline Real power_of_two(Real x) { return exp2(x); }
__device__ inline Real log_two(Real x) { return log2(x); }
__device__ inline Real root(Real x) { return sqrt(x); }

#else

using Real = float;

__device__ inline Real larger(Real a, Real b) { return fmaxf(a, b); }
__device__ inline Real power_of_two(Real x) { return exp2f(x); }  // one instruction in a build with -ftz=true
__device__ inline Real log_two(Real x) { return log2f(x); }
__device__ inline Real root(Real x) { return sqrtf(x); }

#if ASTR_SCALAR == ASTR_FLOAT

using Scalar = float;

__device__ inline Real widen(Scalar x) { return x; }
__device__ inline Scalar narrow(Real x) { return x; }

#else

using Scalar = unsigned short;  // the 16 bits of a half or of a bfloat16

#if ASTR_SCALAR == ASTR_HALF

#ifdef __CUDA_ARCH__  // the tests run these files on a CPU and bring their own two conversions
__device__ inline float half_to_float(unsigned short x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

__device__ inline unsigned short float_to_half(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#endif

__device__ inline Real widen(Scalar x) { return half_to_float(x); }
__device__ inline Scalar narrow(Real x) { return float_to_half(x); }

#else  // ASTR_BFLOAT16: the upper half of a float's bits

__device__ inline Real widen(Scalar x) { return __uint_as_float(unsigned(x) << 16); }

// To nearest, ties to even. The instruction that does this came with sm_80.
__device__ inline Scalar narrow(Real x) {
    const unsigned bits = __float_as_uint(x);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? Scalar(0x7fff) : Scalar((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
#endif
#endif

constexpr Real LOG2_E = 1.44269504088896340736;
constexpr Real LN_2 = 0.69314718055994530942;

__device__ inline Real infinity() { return __int_as_float(0x7f800000); }
