import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from astr_cli.matching.resources.shared_cache import SharedCache


def test_the_last_two_stay_whatever_their_size() -> None:
    made: list[str] = []
    cache: SharedCache[str, str] = SharedCache(len, capacity=0)
    for name in "ababcba":
        cache.get(name, lambda name=name: made.append(name) or name)  # type: ignore[misc, func-returns-value]
    assert "".join(made) == "abca"


def test_what_fits_stays() -> None:
    made: list[int] = []
    cache: SharedCache[int, int] = SharedCache(int, capacity=6)
    for number in (1, 2, 3, 1, 4, 1, 3, 2):  # 4 comes when 2, 3, 1 are held: the oldest, 2 and 3, make place
        cache.get(number, lambda number=number: made.append(number) or number)  # type: ignore[misc, func-returns-value]
    assert made == [1, 2, 3, 4, 3, 2]


def test_a_failure_is_not_kept_and_reaches_all_who_wait() -> None:
    cache: SharedCache[str, int] = SharedCache(int)
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        go_on.wait(20)
        raise ValueError("once")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", fail)
        begun.wait(20)
        second = pool.submit(cache.get, "a", lambda: 1)
        while not second.running():
            pass
        go_on.set()
        assert isinstance(first.exception(), ValueError)
        assert second.exception() is None or isinstance(second.exception(), ValueError)
    assert cache.get("a", lambda: 2) in (1, 2)


def test_one_in_the_making_holds_up_no_other() -> None:
    cache: SharedCache[str, int] = SharedCache(int)
    both = threading.Barrier(2, timeout=20)

    def make() -> int:
        both.wait()
        return 1

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda key: cache.get(key, make), "ab")) == [1, 1]


def test_the_error_names_what_make_raised() -> None:
    cache: SharedCache[str, int] = SharedCache(int)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
