// How a warp is laid over the heads of one row of a tensor (rows, heads, HEAD_SIZE), -D ASTR_HEAD_SIZE=32.
//
// A lane holds VECTOR neighbouring elements of one head, 16 bytes where the head size allows. LANES lanes hold a head
// (4 of them for 32 halves, 8 for 32 floats) and a warp holds HEADS heads, so that the row of a key is one read of up
// to 512 bytes, and a dot product costs log2(LANES) shuffles. blockIdx.y counts groups of HEADS heads, blockIdx.z
// items of the batch. Warps have nothing to do with each other: no barriers, no atomics, the same bits every time.

constexpr int HEAD_SIZE = ASTR_HEAD_SIZE;
constexpr int WIDEST = 16 / int(sizeof(Scalar));
constexpr int LOWEST_BIT = HEAD_SIZE & -HEAD_SIZE;
constexpr int VECTOR = LOWEST_BIT < WIDEST ? LOWEST_BIT : WIDEST;
constexpr int PARTS = HEAD_SIZE / VECTOR;

__device__ constexpr int power_of_two_from(int count) {
    int power = 1;
    while (power < count) power *= 2;
    return power;
}

constexpr int LANES = power_of_two_from(PARTS);  // more than PARTS for 24 or 48: the rest of the lanes hold zeros
static_assert(LANES <= 32, "a head must fit into a warp");
constexpr int HEADS = 32 / LANES;

constexpr int TILE = 4;                // queries of a block: TILE x TILE of their grid, one a warp
constexpr int WARPS = TILE * TILE;
constexpr unsigned ALL = 0xffffffffu;  // lanes

struct Lane {
    int index;    // in the warp
    int head;     // of the tensor; lanes behind its last head do as the last one does, and do not write
    int column;   // of its first element in a row
    bool inside;  // false in what a head leaves over of LANES: zeros
    bool writes;
    bool leads;   // the first lane of a head: writes what there is one of for each head

    __device__ explicit Lane(int heads) {
        index = threadIdx.x % 32;
        const int own = blockIdx.y * HEADS + index / LANES;
        const int part = index % LANES;
        head = min(own, heads - 1);
        column = head * HEAD_SIZE + part * VECTOR;
        inside = PARTS == LANES || part < PARTS;
        writes = own < heads && inside;
        leads = own < heads && part == 0;
    }
};

// The row of an item that this warp serves, -1 for none. Neighbours on a grid look at much the same keys, so a block
// takes a square of it, and its warps find in the L1 cache what one of them has fetched. Width 0: no grid is known.
__device__ inline int served_row(int rows, int width) {
    const int warp = threadIdx.x / 32;
    const int block = blockIdx.x;
    if (width == 0) {
        const int row = block * WARPS + warp;
        return row < rows ? row : -1;
    }
    const int across = (width + TILE - 1) / TILE;
    const int y = block / across * TILE + warp / TILE;
    const int x = block % across * TILE + warp % TILE;
    const int row = y * width + x;
    return x < width && row < rows ? row : -1;
}

// A lane's part of a row, as it lies in memory and as it is computed with.
struct alignas(VECTOR * sizeof(Scalar)) Pack {
    Scalar element[VECTOR];
};

struct Vector {
    Real element[VECTOR];

    __device__ explicit Vector(Real x = 0) {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) element[i] = x;
    }

    __device__ explicit Vector(const Pack& pack) {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) element[i] = widen(pack.element[i]);
    }

    __device__ Vector& operator*=(Real factor) {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) element[i] *= factor;
        return *this;
    }

    __device__ void add(Real factor, const Pack& pack) {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) element[i] += factor * widen(pack.element[i]);
    }

    // Rows as `to` has them: heads * HEAD_SIZE elements.
    __device__ void write(Scalar* to, int row, int heads, const Lane& lane) const {
        Pack pack;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) pack.element[i] = narrow(element[i]);
        if (lane.writes) *reinterpret_cast<Pack*>(to + row * heads * HEAD_SIZE + lane.column) = pack;
    }
};

// Where a lane finds its part of the rows of a tensor that is read. They lie `stride` elements apart, as it may be a
// view of some wider one; row 0 is row `first` of the tensor. Offsets are of 32 bits, here and everywhere: registers
// are what the kernels run out of.
struct Rows {
    int stride;
    int start;
    bool inside;

    __device__ Rows(int stride, const Lane& lane, int first = 0)
        : stride(stride), start(first * stride + lane.column), inside(lane.inside) {}

    __device__ Pack of(const Scalar* data, int row) const {
        Pack pack = {};
        if (inside) pack = *reinterpret_cast<const Pack*>(data + (start + row * stride));
        return pack;
    }
};

// The dot product of a head, the same bits in all of its lanes.
__device__ inline Real dot(const Vector& a, const Pack& b) {
    Real sum = 0;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) sum += a.element[i] * widen(b.element[i]);
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(ALL, sum, step);
    return sum;
}
