"""The feature cache: bytes bounded, least recently used first out."""

import torch

from astr_cli.matching.photos.rotation import Wanted
from astr_cli.matching.run.feature_cache import FeatureCache, feature_bytes
from astr_cli.model.backbone import Features

A, B, C = map(Wanted, "abc")


def features(size: int = 4) -> Features:
    """Features of 4 * 3 * size bytes."""
    return Features(torch.zeros(size), torch.zeros(size), torch.zeros(size), None)


def test_bytes_count_every_tensor() -> None:
    assert feature_bytes(features()) == 48
    assert feature_bytes(features()._replace(mask8=torch.zeros(5, dtype=torch.bool))) == 53


def test_least_recently_used_goes_first_and_bytes_stay_bounded() -> None:
    cache = FeatureCache(2 * 48)
    cache.put(A, features())
    cache.put(B, features())
    assert cache.get(A) is not None
    cache.put(C, features())
    assert (A in cache, B in cache, C in cache) == (True, False, True)
    assert cache.used == 96
    assert cache.get(B) is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_what_does_not_fit_is_not_kept() -> None:
    cache = FeatureCache(47)
    cache.put(A, features())
    assert len(cache) == 0
    assert cache.used == 0


def test_shrinking_empties_and_halves() -> None:
    cache = FeatureCache(100)
    cache.put(A, features())
    cache.shrink()
    assert (len(cache), cache.used, cache.capacity) == (0, 0, 50)
    cache.put(A, features())
    assert len(cache) == 1


def test_the_same_again_is_counted_once() -> None:
    cache = FeatureCache(100)
    cache.put(A, features())
    cache.put(A, features(5))
    assert (len(cache), cache.used) == (1, 60)
    cache.put(A, features(100))
    assert (len(cache), cache.used) == (0, 0)


def test_turns_and_small_copies_are_entries_of_their_own_and_only_whole_photos_count() -> None:
    cache = FeatureCache(100)
    small = Wanted("a", 1, small=True)
    cache.put(small, features())
    assert cache.get(small) is not None
    assert cache.get(Wanted("a", small=True)) is None
    assert (cache.hits, cache.misses) == (0, 0)
    assert (cache.get(Wanted("a", 1)), cache.hits, cache.misses) == (None, 0, 1)
