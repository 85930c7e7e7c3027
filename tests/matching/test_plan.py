"""The plan: batches of equal sizes, an order that keeps the cache warm, the same on every run."""

from collections import OrderedDict
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.matching.run.plan import PairBatch, make_plan, unfinished
from astr_cli.pairs.reading import Pair

WIDE, TALL = (160, 128), (128, 160)


def exhaustive(count: int) -> list[Pair]:
    return [Pair(f"{a:03d}", f"{b:03d}", line) for line, (a, b) in enumerate(combinations(range(count), 2), 1)]


def misses(pairs: list[Pair], room: int) -> int:
    cache: OrderedDict[str, None] = OrderedDict()
    missed = 0
    for name in (name for pair in pairs for name in (pair.name0, pair.name1)):
        missed += name not in cache
        cache[name] = None
        cache.move_to_end(name)
        if len(cache) > room:
            cache.popitem(last=False)
    return missed


def flat(plan: list[PairBatch]) -> list[Pair]:
    return [pair for batch in plan for pair in batch.pairs]


@given(
    edges=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda e: e[0] != e[1]), unique=True),
    tall=st.sets(st.integers(0, 12)),
    batch=st.integers(1, 5),
)
def test_every_pair_once_in_batches_of_one_shape(edges: list[tuple[int, int]], tall: set[int], batch: int) -> None:
    pairs = [Pair(str(a), str(b), line) for line, (a, b) in enumerate(edges)]
    sizes = {str(index): TALL if index in tall else WIDE for index in range(13)}
    plan = make_plan(pairs, sizes, batch)
    assert sorted(flat(plan), key=lambda pair: pair.line) == pairs
    for group in plan:
        assert 1 <= len(group.pairs) <= batch
        assert len({(sizes[pair.name0], sizes[pair.name1]) for pair in group.pairs}) == 1
    shapes = {(sizes[pair.name0], sizes[pair.name1]) for pair in pairs}
    assert sum(len(group.pairs) < batch for group in plan) <= len(shapes)


@pytest.mark.parametrize("room", [8, 16, 32])
def test_order_hits_a_cache_of_any_size(room: int) -> None:
    pairs = exhaustive(64)
    plan = flat(make_plan(pairs, dict.fromkeys((f"{index:03d}" for index in range(64)), WIDE), 1))
    by_row = misses(pairs, room)
    assert by_row > 1000
    assert misses(plan, room) < by_row * 5 / room


def test_sequences_decode_each_image_once() -> None:
    pairs = [Pair(f"{a:03d}", f"{a + step:03d}", a) for a in range(200) for step in (1, 2, 3)]
    plan = make_plan(pairs, dict.fromkeys((f"{index:03d}" for index in range(203)), WIDE), 1)
    assert misses(flat(plan), 16) <= 1.1 * 203


def test_resuming_recomputes_whole_batches_of_the_full_plan() -> None:
    pairs = exhaustive(6)
    plan = make_plan(pairs, dict.fromkeys((f"{index:03d}" for index in range(6)), WIDE), 4)
    done = {(pair.name0, pair.name1) for pair in plan[0].pairs + plan[1].pairs[:3]}
    assert unfinished(plan, done) == plan[1:]
    assert unfinished(plan, {(pair.name0, pair.name1) for pair in pairs}) == []


def test_batch_names_each_image_once() -> None:
    assert PairBatch((Pair("a", "b", 1), Pair("a", "c", 2))).names() == ("a", "b", "c")
