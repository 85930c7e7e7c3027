// out = sum_k softmax_k(q . k / sqrt(HEAD_SIZE)) v over the keys that a query sees, and the log-sum-exp of its scores.
//
// A warp serves one query and HEADS heads in one pass over the keys: scores in base 2, the largest so far subtracted,
// the sums rescaled when a group of keys brings a larger one. A query without keys gets zeros, and -infinity.

// Blocks of a multiprocessor at a time. With two, a lane has 64 registers; doubles, and heads that leave lanes over,
// take more.
constexpr int BLOCKS = sizeof(Real) == 4 && PARTS == LANES ? 2 : 1;

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS) astr_attend(
    const Scalar* __restrict__ query, int query_stride,  // (batch * queries, heads, HEAD_SIZE)
    const Scalar* __restrict__ key,                      // (batch * keys, heads, HEAD_SIZE)
    const Scalar* __restrict__ value, int key_stride,    // as key
    const int* __restrict__ cells, const int* __restrict__ offsets, const unsigned char* __restrict__ key_mask,
    int per_row, int height, int width,                  // these six: see Lists
    int queries, int keys, int heads,
    int query_width,                                     // of the grid of queries, 0 = unknown
    Scalar* __restrict__ out,                            // (batch * queries, heads, HEAD_SIZE)
    Real* __restrict__ lse) {                            // (batch * queries, heads)
    __shared__ Found found_by_warp[WARPS];
    const int served = served_row(queries, query_width);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * queries + served;
    const Rows keys_at(key_stride, lane, item * keys);
    Found& found = found_by_warp[threadIdx.x / 32];

    Vector scaled(Rows(query_stride, lane).of(query, row));
    scaled *= LOG2_E / root(HEAD_SIZE);
    Vector sum;
    Real largest = -infinity(), total = 0;
    const KeysOfQuery candidates({cells, offsets, key_mask, per_row, height, width}, item, row, keys, lane);
#pragma unroll 1
    for (int first = candidates.begin; first < candidates.end; first += LISTED) {
        const int count = found.collect(candidates, first, lane);
#pragma unroll 1
        for (int start = 0; start < count; start += GROUP) {
            const Group group = found.group(start);
            Pack k[GROUP], v[GROUP];
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                k[i] = keys_at.of(key, group.rows[i]);
                v[i] = keys_at.of(value, group.rows[i]);
            }
            Real scores[GROUP];
            Real larger_one = largest;
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const Real score = dot(scaled, k[i]);
                scores[i] = start + i < count ? score : -infinity();
                larger_one = larger(larger_one, scores[i]);
            }
            const Real shrink = power_of_two(largest - larger_one);
            total *= shrink;
            sum *= shrink;
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const Real weight = power_of_two(scores[i] - larger_one);
                total += weight;
                sum.add(weight, v[i]);
            }
            largest = larger_one;
        }
    }
    if (total != 0) sum *= 1 / total;
    sum.write(out, row, heads, lane);
    if (lane.leads) lse[row * heads + lane.head] = (largest + log_two(total)) * LN_2;
}
