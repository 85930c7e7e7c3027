"""The features of images that were used last, within a number of bytes."""

from collections import OrderedDict

from astr_cli.matching.photos.rotation import Wanted
from astr_cli.model.backbone import Features


def feature_bytes(features: Features) -> int:
    """The bytes that the tensors of `features` hold."""
    return sum(tensor.numel() * tensor.element_size() for tensor in features.tensors())


class FeatureCache:
    """Least recently used features, never more than `capacity` bytes together.

    An entry larger than the whole capacity is not kept. Nothing is copied: the memory is the host's on a CPU, else the
    device's. `hits` and `misses` count whole photos; their small copies would hide how often the backbone runs in full.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[Wanted, Features] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, wanted: Wanted) -> bool:
        return wanted in self._entries

    def get(self, wanted: Wanted) -> Features | None:
        """The features of an image, counted as a hit and as just used; None, counted as a miss, when not held."""
        features = self._entries.get(wanted)
        if not wanted.small:
            self.hits += features is not None
            self.misses += features is None
        if features is not None:
            self._entries.move_to_end(wanted)
        return features

    def put(self, wanted: Wanted, features: Features) -> None:
        """Keeps features, in place of those held for the same, and drops the least recently used until all fit."""
        replaced = self._entries.pop(wanted, None)
        if replaced is not None:
            self.used -= feature_bytes(replaced)
        size = feature_bytes(features)
        if size > self.capacity:
            return
        self._entries[wanted] = features
        self.used += size
        while self.used > self.capacity:
            _, dropped = self._entries.popitem(last=False)
            self.used -= feature_bytes(dropped)

    def shrink(self) -> None:
        """Empties the cache and halves its capacity for the rest of the run, after memory ran out."""
        self._entries.clear()
        self.used = 0
        self.capacity //= 2
