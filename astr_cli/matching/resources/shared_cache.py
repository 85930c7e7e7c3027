"""A cache that threads share: the values used last, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

HELD = 512 << 20  # bytes
FEWEST = 2  # values that stay whatever their size: those of the two photos of a pair


class SharedCache(Generic[Key, Value]):
    """Makes each value once; a thread that asks for one in the making waits for it, others do not."""

    def __init__(self, size: Callable[[Value], int], capacity: int = HELD) -> None:
        """size: the bytes of a value."""
        self._size = size
        self._capacity = capacity
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; `make` is called if it is not held. Raises what `make` raises, also where others wait."""
        with self._lock:
            found = self._held.pop(key, None)
            wanted: Future[Value] = Future() if found is None else found
            self._held[key] = wanted
        if found is None:
            try:
                wanted.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._held.pop(key, None)
                wanted.set_exception(error)
            self._drop()
        return wanted.result()

    def _drop(self) -> None:
        """Drops the least recently used values until the rest fits."""
        with self._lock:
            done = (key for key, each in self._held.items() if each.done() and each.exception() is None)
            sizes = {key: self._size(self._held[key].result()) for key in done}
            used = sum(sizes.values())
            for key in list(sizes)[:-FEWEST]:
                if used <= self._capacity:
                    return
                del self._held[key]
                used -= sizes[key]
