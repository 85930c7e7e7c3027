"""The features of images that were used last, within a number of bytes."""

from collections import OrderedDict

from astr_cli.model import Features


def feature_bytes(features: Features) -> int:
    """The bytes that the tensors of `features` hold."""
    return sum(tensor.numel() * tensor.element_size() for tensor in features if tensor is not None)


class FeatureCache:
    """Least recently used features, one entry an image, never more than `capacity` bytes together.

    An entry larger than the whole capacity is not kept. Nothing is copied: the memory is the host's on a CPU, else the
    device's.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[str, Features] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> Features | None:
        """The features of an image, counted as a hit and as just used; None, counted as a miss, when not held."""
        features = self._entries.get(name)
        if features is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(name)
        return features

    def put(self, name: str, features: Features) -> None:
        """Keeps features, and drops the least recently used until all fit."""
        size = feature_bytes(features)
        if size > self.capacity:
            return
        self._entries[name] = features
        self.used += size
        while self.used > self.capacity:
            _, dropped = self._entries.popitem(last=False)
            self.used -= feature_bytes(dropped)

    def shrink(self) -> None:
        """Empties the cache and halves its capacity for good: memory has run out."""
        self._entries.clear()
        self.used = 0
        self.capacity //= 2
