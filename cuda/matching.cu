// The matching matrix S = F0 F1^T, which is never in memory: the log-sum-exp of each of its rows, or the best of each.
//
// Tensor cores multiply halves and add in float. A warp owns ROWS rows of S and keeps their features in registers. It
// goes over all columns, WIDTH at a time, and each lane keeps what is wanted of those scores that the products leave
// with it; at the end the four lanes of a row are put together. What is wanted of the columns is wanted of the rows of
// the transposed matrix: the same kernel with F0 and F1 exchanged. No barriers, no atomics, the same bits every time.
//
// Features are (batch, cells, CHANNELS) halves, -D ASTR_HEAD_SIZE=CHANNELS, a multiple of 32 up to 256. From sm_80 on.

constexpr int CHANNELS = ASTR_HEAD_SIZE;
static_assert(CHANNELS % 32 == 0 && CHANNELS <= 256, "the features of a row must fit into registers");
constexpr int CHUNKS = CHANNELS / 32;
constexpr int OCTETS = CHANNELS <= 128 ? 4 : 2;  // of rows; with more, each column read goes into more products
constexpr int ROWS = 8 * OCTETS;                 // of a warp
constexpr int BLOCKS = 8;                        // of 8 columns
constexpr int WIDTH = 8 * BLOCKS;
constexpr int WARPS = 4;                         // of a block
constexpr unsigned ALL = 0xffffffffu;            // lanes
constexpr Real LOWEST = -3e38f;                  // in place of -infinity: differences must be numbers

// A warp multiplies octets of rows by octets of columns. Lane 4 g + t brings features of row g and of column g, and is
// left with the scores of row g at columns 2 t and 2 t + 1.
__device__ inline int lane_g() { return threadIdx.x % 32 / 4; }
__device__ inline int lane_t() { return threadIdx.x % 4; }

// What a lane brings of 32 channels: 8 t to 8 t + 7. A product sums over 16, and which is all the same as long as rows
// and columns agree: the first two pairs go into one product, the others into the next.
struct alignas(16) Eight {
    unsigned pair[4];
};

// Adds the products of two octets of rows, `upper` and `lower`, with one of columns, over 16 channels.
#ifdef __CUDA_ARCH__  // the tests run these files on a CPU and bring their own
__device__ inline void multiply_add(
    float (&upper_score)[2], float (&lower_score)[2],
    const unsigned* upper, const unsigned* lower, const unsigned* column) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(upper_score[0]), "+f"(upper_score[1]), "+f"(lower_score[0]), "+f"(lower_score[1])
        : "r"(upper[0]), "r"(lower[0]), "r"(upper[1]), "r"(lower[1]), "r"(column[0]), "r"(column[1]));
}
#endif

using Scores = float[OCTETS][BLOCKS][2];  // a lane's of ROWS x WIDTH

// The cells of one image of each pair.
struct Side {
    const Scalar* features;     // (batch, count, CHANNELS)
    const unsigned char* mask;  // null, or (batch, count): 0 = its scores do not count
    int count;

    __device__ Eight channels(int item, int cell, int chunk) const {
        const int row = item * count + min(cell, count - 1);  // beyond the last cell: something, which will not count
        return *reinterpret_cast<const Eight*>(features + (row * CHANNELS + 32 * chunk + 8 * lane_t()));
    }

    __device__ bool counts(int item, int cell) const {
        return cell < count && (mask == nullptr || mask[item * count + cell]);
    }
};

// Hands a warp's scores to keep.take(scores, item, column), WIDTH columns at a time: scores[octet][block][i] is of row
// first_row + 8 octet + g and of column + 8 block + i, -infinity where that column does not count.
template <class Keep>
__device__ inline void go_over(const Side& own, const Side& other, int item, int first_row, Keep& keep) {
    Eight rows[OCTETS][CHUNKS];
#pragma unroll
    for (int octet = 0; octet < OCTETS; ++octet)
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
            rows[octet][chunk] = own.channels(item, first_row + 8 * octet + lane_g(), chunk);
#pragma unroll 1
    for (int first = 0; first < other.count; first += WIDTH) {
        Scores scores = {};
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
#pragma unroll
            for (int block = 0; block < BLOCKS; ++block) {
                const Eight column = other.channels(item, first + 8 * block + lane_g(), chunk);
#pragma unroll
                for (int octet = 0; octet < OCTETS; octet += 2)
#pragma unroll
                    for (int i = 0; i < 4; i += 2)
                        multiply_add(scores[octet][block], scores[octet + 1][block], rows[octet][chunk].pair + i,
                                     rows[octet + 1][chunk].pair + i, column.pair + i);
            }
        const int column = first + 2 * lane_t();
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                if (!other.counts(item, column + 8 * block + i))
#pragma unroll
                    for (int octet = 0; octet < OCTETS; ++octet) scores[octet][block][i] = -infinity();
        keep.take(scores, item, column);
    }
}

__device__ inline int first_row_of_warp() { return (blockIdx.x * WARPS + threadIdx.x / 32) * ROWS; }

// The sum of exp(score) of each row so far, as exp(most) * total.
struct Sums {
    Real most[OCTETS], total[OCTETS];

    __device__ Sums() {
#pragma unroll
        for (int octet = 0; octet < OCTETS; ++octet) {
            most[octet] = LOWEST;
            total[octet] = 0;
        }
    }

    __device__ void add(int octet, Real others_most, Real others_total) {
        const Real higher = larger(most[octet], others_most);
        total[octet] *= power_of_two((most[octet] - higher) * LOG2_E);
        total[octet] += power_of_two((others_most - higher) * LOG2_E) * others_total;
        most[octet] = higher;
    }

    __device__ void take(const Scores& scores, int, int) {
#pragma unroll
        for (int octet = 0; octet < OCTETS; ++octet) {
            Real highest = LOWEST, sum = 0;
#pragma unroll
            for (int block = 0; block < BLOCKS; ++block)
                highest = larger(highest, larger(scores[octet][block][0], scores[octet][block][1]));
#pragma unroll
            for (int block = 0; block < BLOCKS; ++block)
#pragma unroll
                for (int i = 0; i < 2; ++i) sum += power_of_two((scores[octet][block][i] - highest) * LOG2_E);
            add(octet, highest, sum);
        }
    }
};

// sums = log sum_j exp S[b, i, j] over the columns that count; -infinity where none does, or row i does not.
extern "C" __global__ void __launch_bounds__(32 * WARPS) astr_row_sums(
    const Scalar* __restrict__ features0, const unsigned char* __restrict__ mask0, int count0,
    const Scalar* __restrict__ features1, const unsigned char* __restrict__ mask1, int count1,
    Real* __restrict__ sums) {  // (batch, count0)
    const Side own{features0, mask0, count0}, other{features1, mask1, count1};
    const int item = blockIdx.z, first_row = first_row_of_warp();
    if (first_row >= count0) return;
    Sums found;
    go_over(own, other, item, first_row, found);
#pragma unroll
    for (int octet = 0; octet < OCTETS; ++octet) {
#pragma unroll
        for (int step = 1; step < 4; step *= 2) {
            const Real others_most = __shfl_xor_sync(ALL, found.most[octet], step);
            found.add(octet, others_most, __shfl_xor_sync(ALL, found.total[octet], step));
        }
        const int row = first_row + 8 * octet + lane_g();
        if (lane_t() != 0 || row >= count0) continue;
        const bool some = own.counts(item, row) && found.total[octet] > 0;
        sums[item * count0 + row] = some ? found.most[octet] + log_two(found.total[octet]) * LN_2 : -infinity();
    }
}

// The best column of each row so far, and 2 score - sum of that column; the first of equals.
struct Best {
    const Real* sums;  // (batch, count) of the columns
    int count;
    Real value[OCTETS];
    int cell[OCTETS];

    __device__ Best(const Real* sums, int count) : sums(sums), count(count) {
#pragma unroll
        for (int octet = 0; octet < OCTETS; ++octet) {
            value[octet] = -infinity();
            cell[octet] = count;
        }
    }

    __device__ void offer(int octet, Real others_value, int others_cell) {
        const bool equal = others_value == value[octet];
        const bool better = equal ? others_cell < cell[octet] : others_value > value[octet];
        value[octet] = better ? others_value : value[octet];
        cell[octet] = better ? others_cell : cell[octet];
    }

    __device__ void take(const Scores& scores, int item, int column) {
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int other = column + 8 * block + i;
                const Real sum = sums[item * count + min(other, count - 1)];
#pragma unroll
                for (int octet = 0; octet < OCTETS; ++octet) offer(octet, 2 * scores[octet][block][i] - sum, other);
            }
    }
};

// The column with the highest log P = 2 S[b, i, j] - sums0[b, i] - sums1[b, j], and that; 0 and -infinity where no
// column counts, or row i does not.
extern "C" __global__ void __launch_bounds__(32 * WARPS) astr_row_best(
    const Scalar* __restrict__ features0, const unsigned char* __restrict__ mask0, int count0,
    const Scalar* __restrict__ features1, const unsigned char* __restrict__ mask1, int count1,
    const Real* __restrict__ sums0, const Real* __restrict__ sums1,  // (batch, count0), (batch, count1)
    int* __restrict__ cells, Real* __restrict__ log_p) {             // (batch, count0)
    const Side own{features0, mask0, count0}, other{features1, mask1, count1};
    const int item = blockIdx.z, first_row = first_row_of_warp();
    if (first_row >= count0) return;
    Best found(sums1, count1);
    go_over(own, other, item, first_row, found);
#pragma unroll
    for (int octet = 0; octet < OCTETS; ++octet) {
#pragma unroll
        for (int step = 1; step < 4; step *= 2) {
            const Real others_value = __shfl_xor_sync(ALL, found.value[octet], step);
            found.offer(octet, others_value, __shfl_xor_sync(ALL, found.cell[octet], step));
        }
        const int row = first_row + 8 * octet + lane_g();
        if (lane_t() != 0 || row >= count0) continue;
        const bool some = own.counts(item, row) && found.value[octet] > -infinity();
        cells[item * count0 + row] = some ? found.cell[octet] : 0;
        log_p[item * count0 + row] = some ? found.value[octet] - sums0[item * count0 + row] : -infinity();
    }
}
