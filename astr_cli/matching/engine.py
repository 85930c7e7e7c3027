"""The batch engine: from a job to the matches of each pair, with prefetched photos and cached features."""

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from astr_cli.errors import Stopped
from astr_cli.images import ImageError
from astr_cli.matching.cache import FeatureCache
from astr_cli.matching.events import FailedPair, Listener, Notice, PairFailed
from astr_cli.matching.loader import Loader
from astr_cli.matching.memory import is_out_of_memory
from astr_cli.matching.plan import Batch, unfinished
from astr_cli.matching.prepare import Job
from astr_cli.matching.runner import PairInput, Runner, defect
from astr_cli.model import Features
from astr_cli.pairs import Pair
from astr_cli.store import PairMatches

T = TypeVar("T")
LOOK_AHEAD = 64  # batches whose images may be decoded before they are needed


class Engine:
    """Matches batches one after the other; images that break on the way fail their pairs only."""

    def __init__(
        self,
        job: Job,
        done: Container[tuple[str, str]],
        runner: Runner,
        cache: FeatureCache,
        loader: Loader,
        listener: Listener,
    ) -> None:
        self.failed: list[FailedPair] = []
        self._done = done  # names of pairs whose matches are known; they only fill their batches
        self._job = job
        self._runner = runner
        self._cache = cache
        self._loader = loader
        self._listener = listener
        self._broken: dict[str, str] = {}  # image -> why it could not be read
        self._limit = job.compute.batch  # pairs at once; falls when memory runs out

    def run(self) -> Iterator[list[tuple[Pair, PairMatches]]]:
        """Yields, batch by batch, the pairs that were not done with their matches; `failed` grows meanwhile."""
        batches = unfinished(self._job.plan, self._done)
        for position, batch in enumerate(batches):
            self._prefetch(batches, position)
            inputs = self._inputs(batch)
            stand_in = next((given for given in inputs if given is not None), None)
            if stand_in is None:
                continue
            # The stand-in takes the place of failed pairs: a batch keeps its size, and with it the others' last bits.
            found = self._match([given or stand_in for given in inputs])
            yield [
                (pair, matches)
                for pair, given, matches in zip(batch.pairs, inputs, found, strict=True)
                if given is not None and self._is_new(pair) and self._is_sound(pair, given, matches)
            ]

    def _prefetch(self, batches: Sequence[Batch], position: int) -> None:
        for batch in islice(batches, position, position + LOOK_AHEAD):
            if self._loader.full():
                return
            needed = (name for name in batch.names() if name not in self._cache and name not in self._broken)
            self._loader.prefetch(needed)

    def _inputs(self, batch: Batch) -> list[PairInput | None]:
        """The features of each pair of a batch; None for a pair that failed."""
        features = {name: found for name in batch.names() if (found := self._features(name)) is not None}
        views = self._job.views
        inputs: list[PairInput | None] = []
        for pair in batch.pairs:
            name0, name1 = pair.name0, pair.name1
            if name0 in features and name1 in features:
                inputs.append(PairInput(features[name0], features[name1], views[name0], views[name1]))
            else:
                inputs.append(None)
                self._fail(pair, self._broken.get(name0) or self._broken[name1])
        return inputs

    def _features(self, name: str) -> Features | None:
        """An image's features, from the cache or the backbone; None when the photo cannot be read."""
        if name in self._broken:
            return None
        features = self._cache.get(name)
        if features is not None:
            return features
        try:
            gray = self._loader.take(name)
        except ImageError as error:
            self._broken[name] = str(error)
            return None
        features = self._backing_off(lambda: self._runner.extract(gray))
        self._cache.put(name, features)
        return features

    def _match(self, inputs: Sequence[PairInput]) -> list[PairMatches]:
        def match() -> list[PairMatches]:
            starts = range(0, len(inputs), self._limit)
            return [matches for start in starts for matches in self._runner.match(inputs[start : start + self._limit])]

        return self._backing_off(match)

    def _backing_off(self, work: Callable[[], T]) -> T:
        """`work()`, again with less in memory for as long as memory runs out; raises Stopped when that is no help."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._back_off()  # outside of the handler, as the traceback keeps tensors alive

    def _back_off(self) -> None:
        if self._limit == 1 and len(self._cache) == 0:
            raise Stopped(
                f"{self._job.options.out}: out of memory for a single pair at --long-side "
                f"{self._job.compute.long_side}; free some memory and run the same command again: it goes on"
            )
        self._cache.shrink()
        self._runner.release()
        self._limit = max(self._limit // 2, 1)
        self._listener(
            Notice(
                f"out of memory: the feature cache is emptied and batches now hold {self._limit} of the pairs; "
                "from here on bytes may differ from those of an undisturbed run"
            )
        )

    def _is_new(self, pair: Pair) -> bool:
        return (pair.name0, pair.name1) not in self._done

    def _is_sound(self, pair: Pair, given: PairInput, matches: PairMatches) -> bool:
        reason = defect(matches, given.view0, given.view1)
        if reason is not None:
            self._fail(pair, reason)
        return reason is None

    def _fail(self, pair: Pair, reason: str) -> None:
        if self._is_new(pair):
            self.failed.append(FailedPair(pair.name0, pair.name1, reason))
            self._listener(PairFailed(pair.name0, pair.name1, reason))
