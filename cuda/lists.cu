// Who sees whom: the keys of a query, and the queries of a key, from any of three forms of key lists.
//
//   a table    cells (rows, per_row): the keys of each query, below 0 for none
//   CSR rows   cells, a flat list, of which row r has those from offsets[r] to offsets[r + 1]
//   windows    cells (rows, per_row): centres of squares of the key grid, -D ASTR_WINDOW=5 cells wide; a query sees
//              the set union of its squares, less what is off the grid or masked
//
// -D ASTR_WINDOW=0 makes a build for the first two. Each form numbers its candidates from `begin` to `end`, and `at`
// tells what candidate `place` is: a key of the item, or a query of the batch; -1 for nothing. All lanes call `at`
// together, each for a place of its own. Nothing outside of the tensors is ever read, whatever the lists say.

constexpr int WINDOW = ASTR_WINDOW;
constexpr int REACH = WINDOW / 2;

struct Lists {
    const int* cells;
    const int* offsets;             // null but for CSR rows: rows + 1 of them
    const unsigned char* key_mask;  // null, or (batch, keys) beside windows; 0 = invisible
    int per_row;                    // of a table or of centres; the length of cells for CSR rows
    int height, width;              // of the key grid, for windows
};

// The same lists, ordered by key. For windows: by cell, what has its centre there.
struct Transposed {
    const int* starts;   // (batch * keys + 1): where each key's part of `entries` begins
    const int* entries;  // rows of queries; for windows, flat indices of `cells`
};

__device__ inline int clamped(int x, int low, int high) { return min(max(x, low), high); }

#if ASTR_WINDOW == 0

struct KeysOfQuery {
    const int* cells;
    int begin, end, keys;

    __device__ KeysOfQuery(const Lists& lists, int, int row, int keys, const Lane&) : cells(lists.cells), keys(keys) {
        const bool ragged = lists.offsets != nullptr;
        begin = ragged ? clamped(lists.offsets[row], 0, lists.per_row) : row * lists.per_row;
        end = ragged ? clamped(lists.offsets[row + 1], begin, lists.per_row) : begin + lists.per_row;
    }

    __device__ int at(int place) const {
        const int cell = place < end ? cells[place] : -1;
        return cell < keys ? cell : -1;
    }
};

struct QueriesOfKey {
    const int* entries;
    int begin, end;

    __device__ QueriesOfKey(const Lists&, const Transposed& transposed, int item, int key, int keys, const Lane&)
        : entries(transposed.entries) {
        begin = transposed.starts[item * keys + key];
        end = transposed.starts[item * keys + key + 1];
    }

    __device__ int at(int place) const { return place < end ? entries[place] : -1; }
};

#else

constexpr int NOWHERE = -(1 << 20);  // the y of a centre that is none: covers nothing

__device__ inline bool covers(int centre_y, int centre_x, int y, int x) {
    return abs(centre_y - y) <= REACH && abs(centre_x - x) <= REACH;
}

struct KeysOfQuery {
    const unsigned char* key_mask;
    static constexpr int begin = 0;
    int end, windows, height, width;
    int centre_y, centre_x;  // of the window that has this lane's number

    __device__ KeysOfQuery(const Lists& lists, int item, int row, int keys, const Lane& lane)
        : key_mask(lists.key_mask ? lists.key_mask + item * keys : nullptr),
          windows(lists.per_row), height(lists.height), width(lists.width) {
        end = windows * WINDOW * WINDOW;
        const int centre = lane.index < windows ? lists.cells[row * windows + lane.index] : -1;
        const bool exists = centre >= 0 && centre < keys;
        centre_y = exists ? centre / width : NOWHERE;
        centre_x = exists ? centre % width : 0;
    }

    __device__ int at(int place) const {
        const int window = place / (WINDOW * WINDOW);
        const int y = __shfl_sync(ALL, centre_y, window) + place / WINDOW % WINDOW - REACH;
        const int x = __shfl_sync(ALL, centre_x, window) + place % WINDOW - REACH;
        bool kept = place < end && y >= 0 && y < height && x >= 0 && x < width;
        for (int earlier = 0; earlier < windows - 1; ++earlier) {  // a cell belongs to the first window that has it
            const int earlier_y = __shfl_sync(ALL, centre_y, earlier);
            const int earlier_x = __shfl_sync(ALL, centre_x, earlier);
            kept = kept && !(earlier < window && covers(earlier_y, earlier_x, y, x));
        }
        if (!kept) return -1;
        const int key = y * width + x;
        return key_mask && !key_mask[key] ? -1 : key;
    }
};

// The centres that a key is near to are WINDOW rows of WINDOW cells, and so as many unbroken parts of `entries`.
struct QueriesOfKey {
    const int* cells;
    const int* entries;
    static constexpr int begin = 0;
    int end, windows, width, keys, y, x;
    int before, first;  // of the part that has this lane's number: candidates in the parts above, and its first entry

    __device__ QueriesOfKey(
        const Lists& lists, const Transposed& transposed, int item, int key, int keys, const Lane& lane)
        : cells(lists.cells), entries(transposed.entries), windows(lists.per_row), width(lists.width), keys(keys) {
        y = key / width;
        x = key % width;
        const int part_y = y - REACH + lane.index;
        first = 0;
        int length = 0;
        const bool visible = !lists.key_mask || lists.key_mask[item * keys + key];
        if (visible && lane.index < WINDOW && part_y >= 0 && part_y < lists.height) {
            const int* starts = transposed.starts + item * keys + part_y * width;
            first = starts[max(x - REACH, 0)];
            length = starts[min(x + REACH, width - 1) + 1] - first;
        }
        before = 0;
        end = 0;
        for (int part = 0; part < WINDOW; ++part) {
            if (lane.index == part) before = end;
            end += __shfl_sync(ALL, length, part);
        }
    }

    __device__ int at(int place) const {
        int entry = 0;
        for (int part = 0; part < WINDOW; ++part) {
            const int part_before = __shfl_sync(ALL, before, part);
            const int part_first = __shfl_sync(ALL, first, part);
            if (place >= part_before) entry = part_first + place - part_before;
        }
        if (place >= end) return -1;
        const int found = entries[entry];
        const int row = found / windows;
        for (int earlier = row * windows; earlier < found; ++earlier) {  // as in KeysOfQuery: the first window counts
            const int centre = cells[earlier];
            if (centre >= 0 && centre < keys && covers(centre / width, centre % width, y, x)) return -1;
        }
        return row;
    }
};

#endif

// Rows that a warp looks at, a part of them at a time, in shared memory: all lanes read the same one at once.
constexpr int GROUP = 4;     // rows whose loads are in flight together
constexpr int LISTED = 128;  // candidates of a part: the 5 windows of 5 x 5 are one

struct alignas(GROUP * sizeof(int)) Group {
    int rows[GROUP];
};

struct Found {
    alignas(Group) int rows[LISTED + GROUP];  // behind the last one it stands again: a group may be read whole

    __device__ Group group(int start) const { return *reinterpret_cast<const Group*>(rows + start); }

    // Takes what is there among the candidates from `first` on, in order; returns their number.
    template <class Candidates>
    __device__ int collect(const Candidates& candidates, int first, const Lane& lane) {
        __syncwarp();  // all lanes are through with the part before
        int count = 0;
        const int last = min(first + LISTED, candidates.end);
#pragma unroll 1
        for (int place = first; place < last; place += 32) {
            const int row = candidates.at(place + lane.index);
            const unsigned there = __ballot_sync(ALL, row >= 0);
            if (row >= 0) rows[count + __popc(there & ((1u << lane.index) - 1u))] = row;
            count += __popc(there);
        }
        __syncwarp();
        if (count > 0 && lane.index < GROUP - 1) rows[count + lane.index] = rows[count - 1];
        __syncwarp();
        return count;
    }
};
