"""The feature cache: bytes bounded, least recently used first out."""

import torch

from astr_cli.matching.cache import FeatureCache, feature_bytes
from astr_cli.model import Features


def features(size: int = 4) -> Features:
    """Features of 4 * 3 * size bytes."""
    return Features(torch.zeros(size), torch.zeros(size), torch.zeros(size), None)


def test_bytes_count_every_tensor() -> None:
    assert feature_bytes(features()) == 48
    assert feature_bytes(features()._replace(mask8=torch.zeros(5, dtype=torch.bool))) == 53


def test_least_recently_used_goes_first_and_bytes_stay_bounded() -> None:
    cache = FeatureCache(2 * 48)
    cache.put("a", features())
    cache.put("b", features())
    assert cache.get("a") is not None
    cache.put("c", features())
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.used == 96
    assert cache.get("b") is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_what_does_not_fit_is_not_kept() -> None:
    cache = FeatureCache(47)
    cache.put("a", features())
    assert len(cache) == 0
    assert cache.used == 0


def test_shrinking_empties_and_halves() -> None:
    cache = FeatureCache(100)
    cache.put("a", features())
    cache.shrink()
    assert (len(cache), cache.used, cache.capacity) == (0, 0, 50)
    cache.put("a", features())
    assert len(cache) == 1
