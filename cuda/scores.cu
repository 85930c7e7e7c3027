// Scores alone: out[b, h, q, m] = q . k for the key that the table names at (q, m), 0 where it names none; gradients.
//
// `cells` is a table (batch * queries, per_row), as in Lists. No scale, no softmax.

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) astr_scores(
    const Scalar* __restrict__ query, int query_stride,
    const Scalar* __restrict__ key, int key_stride,
    const int* __restrict__ cells, int per_row,
    int queries, int keys, int heads,
    Scalar* __restrict__ out) {  // (batch, heads, queries, per_row)
    const int served = served_row(queries, 0);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * queries + served;
    const Rows keys_at(key_stride, lane, item * keys);
    const Vector own(Rows(query_stride, lane).of(query, row));
    const int* named = cells + row * per_row;
    Scalar* scores = out + ((item * heads + lane.head) * queries + served) * per_row;
#pragma unroll 4
    for (int place = 0; place < per_row; ++place) {
        const int cell = named[place];
        const bool there = cell >= 0 && cell < keys;
        const Real score = there ? dot(own, keys_at.of(key, cell)) : Real(0);
        if (lane.leads) scores[place] = narrow(score);
    }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) astr_scores_query_gradient(
    const Scalar* __restrict__ key, int key_stride,
    const int* __restrict__ cells, int per_row,
    int queries, int keys, int heads,
    const Scalar* __restrict__ grad,     // (batch, heads, queries, per_row)
    Scalar* __restrict__ grad_query) {   // (batch * queries, heads, HEAD_SIZE)
    const int served = served_row(queries, 0);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * queries + served;
    const Rows keys_at(key_stride, lane, item * keys);
    const int* named = cells + row * per_row;
    const Scalar* slopes = grad + ((item * heads + lane.head) * queries + served) * per_row;
    Vector sum;
#pragma unroll 4
    for (int place = 0; place < per_row; ++place) {
        const int cell = named[place];
        if (cell < 0 || cell >= keys) continue;
        sum.add(widen(slopes[place]), keys_at.of(key, cell));
    }
    sum.write(grad_query, row, heads, lane);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) astr_scores_key_gradient(
    const Scalar* __restrict__ query, int query_stride,
    const int* __restrict__ starts,      // (batch * keys + 1): where each key's part of `entries` begins
    const int* __restrict__ entries,     // flat indices of the table
    int per_row,
    int queries, int keys, int heads,
    const Scalar* __restrict__ grad,     // (batch, heads, queries, per_row)
    Scalar* __restrict__ grad_key) {     // (batch * keys, heads, HEAD_SIZE)
    const int served = served_row(keys, 0);
    if (served < 0) return;
    const Lane lane(heads);
    const int item = blockIdx.z;
    const int row = item * keys + served;
    const Rows queries_at(query_stride, lane);
    const Scalar* slopes = grad + (item * heads + lane.head) * queries * per_row;
    Vector sum;
#pragma unroll 4
    for (int entry = starts[row]; entry < starts[row + 1]; ++entry) {
        const int place = entries[entry] - item * queries * per_row;  // within the item's table
        sum.add(widen(slopes[place]), queries_at.of(query, entries[entry] / per_row));
    }
    sum.write(grad_key, row, heads, lane);
}
