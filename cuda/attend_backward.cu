// Gradients of attend.cu, with the weights formed again from the log-sum-exps:
//
//   weight = 2^(score - lse)      slope = weight (grad . v - delta)      delta = grad . out
//   grad_query = sum_k slope k    grad_key = sum_q slope q    grad_value = sum_q weight grad
//
// The first kernel goes over the keys of each query, the second over the queries of each key, in the order of the
// lists: each sum belongs to one warp, so that the same inputs give the same bits.

// What the second kernel needs to know of a query's head, written by the first.
struct alignas(2 * sizeof(Real)) Softmax {
    Real lse;  // in base 2
    Real delta;
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) astr_attend_query_gradient(
    const Scalar* __restrict__ query, int query_stride,  // all up to query_width: as in attend.cu
    const Scalar* __restrict__ key,
    const Scalar* __restrict__ value, int key_stride,
    const int* __restrict__ cells, const int* __restrict__ offsets, const unsigned char* __restrict__ key_mask,
    int per_row, int height, int width,
    int queries, int keys, int heads,
    int query_width,
    const Scalar* __restrict__ grad, int grad_stride,    // of out
    const Scalar* __restrict__ out, int out_stride,
    const Real* __restrict__ lse,
    Scalar* __restrict__ grad_query,                     // (batch * queries, heads, HEAD_SIZE)
    Softmax* __restrict__ softmax) {                     // (batch * queries, heads)
    __shared__ Found found_by_warp[WARPS];
    const int served = served_row(queries, query_width);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * queries + served;
    const int place = row * heads + lane.head;
    const Rows keys_at(key_stride, lane, item * keys);
    Found& found = found_by_warp[threadIdx.x / 32];

    const Real scale = 1 / root(HEAD_SIZE);
    Vector scaled(Rows(query_stride, lane).of(query, row));
    scaled *= scale * LOG2_E;
    const Vector upstream(Rows(grad_stride, lane).of(grad, row));
    const Real delta = dot(upstream, Rows(out_stride, lane).of(out, row));
    const Softmax own = {lse[place] * LOG2_E, delta};
    if (lane.leads) softmax[place] = own;

    Vector sum;
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
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const Real weight = power_of_two(dot(scaled, k[i]) - own.lse);
                const Real slope = weight * (dot(upstream, v[i]) - own.delta);
                sum.add(start + i < count ? slope : Real(0), k[i]);
            }
        }
    }
    sum *= scale;
    sum.write(grad_query, row, heads, lane);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) astr_attend_key_gradient(
    const Scalar* __restrict__ query, int query_stride,
    const Scalar* __restrict__ key,
    const Scalar* __restrict__ value, int key_stride,
    const int* __restrict__ cells, const int* __restrict__ offsets, const unsigned char* __restrict__ key_mask,
    int per_row, int height, int width,
    const int* __restrict__ starts, const int* __restrict__ entries,  // see Transposed
    int keys, int heads,
    int key_width,                                       // of the grid of keys, 0 = unknown
    const Scalar* __restrict__ grad, int grad_stride,
    const Softmax* __restrict__ softmax,
    Scalar* __restrict__ grad_key,                       // (batch * keys, heads, HEAD_SIZE)
    Scalar* __restrict__ grad_value) {                   // as grad_key
    __shared__ Found found_by_warp[WARPS];
    const int served = served_row(keys, key_width);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * keys + served;
    const Rows queries_at(query_stride, lane);
    const Rows grads_at(grad_stride, lane);
    Found& found = found_by_warp[threadIdx.x / 32];

    const Real scale = 1 / root(HEAD_SIZE);
    Vector scaled(Rows(key_stride, lane).of(key, row));
    scaled *= scale * LOG2_E;
    const Vector own_value(Rows(key_stride, lane).of(value, row));

    Vector key_sum, value_sum;
    const QueriesOfKey candidates(
        {cells, offsets, key_mask, per_row, height, width}, {starts, entries}, item, served, keys, lane);
#pragma unroll 1
    for (int first = candidates.begin; first < candidates.end; first += LISTED) {
        const int count = found.collect(candidates, first, lane);
#pragma unroll 1
        for (int start = 0; start < count; start += GROUP) {
            const Group group = found.group(start);
            Pack q[GROUP], g[GROUP];
            Softmax of[GROUP];
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const int other = group.rows[i];
                q[i] = queries_at.of(query, other);
                g[i] = grads_at.of(grad, other);
                of[i] = softmax[other * heads + lane.head];
            }
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const Real any_weight = power_of_two(dot(scaled, q[i]) - of[i].lse);
                const Real weight = start + i < count ? any_weight : Real(0);
                const Real slope = weight * (dot(own_value, g[i]) - of[i].delta);
                key_sum.add(slope, q[i]);
                value_sum.add(weight, g[i]);
            }
        }
    }
    key_sum *= scale;
    key_sum.write(grad_key, row, heads, lane);
    value_sum.write(grad_value, row, heads, lane);
}
