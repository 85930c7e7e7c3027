"""The batch engine: from a prepared run to the matches of each pair, with prefetched photos and cached features."""

from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

from astr_cli.errors import Stopped
from astr_cli.images.errors import ImageError
from astr_cli.images.masks import PackedMask
from astr_cli.matching.focus.matcher import FocusMatcher, Looked, Source
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.photos.loader import Loader, Photo
from astr_cli.matching.photos.rotation import Wanted, best_quarters, count_upright
from astr_cli.matching.regions.pyramid import Pyramids
from astr_cli.matching.resources.compute import match_settings
from astr_cli.matching.resources.cores import JobPool
from astr_cli.matching.resources.memory import is_out_of_memory
from astr_cli.matching.run.events import FailedPair, Listener, Notice, PairFailed
from astr_cli.matching.run.feature_cache import FeatureCache
from astr_cli.matching.run.model_runner import PairInput, Runner, defect
from astr_cli.matching.run.plan import PairBatch, unfinished
from astr_cli.matching.run.prepare import PreparedRun
from astr_cli.matching.run.refinement import MatchRefiner
from astr_cli.matching.tiles.matcher import TileMatcher
from astr_cli.model.backbone import Features
from astr_cli.pairs.reading import Pair
from astr_cli.store.types import PairMatches

T = TypeVar("T")
LOOK_AHEAD = 64  # batches whose images may be decoded before they are needed


class _InWork(NamedTuple):
    """A batch whose matches are being computed."""

    pairs: tuple[Pair, ...]
    inputs: list[PairInput | None]
    """None for a pair that failed."""
    work: Callable[[], "list[Looked | str]"]
    """Computes the matches of each pair, or the reason why there are none."""
    found: "Future[list[Looked | str]]"
    backed_off: int
    """How often memory had run out when the batch was begun."""


class Engine:
    """Matches batches, several in parallel; an image that becomes unreadable fails only the pairs that use it."""

    def __init__(
        self,
        prepared: PreparedRun,
        done: Container[tuple[str, str]],
        runner: Runner,
        cache: FeatureCache,
        loader: Loader,
        jobs: JobPool,
        listener: Listener,
        refiner: MatchRefiner | None = None,
    ) -> None:
        self.failed: list[FailedPair] = []
        self.looked_again = 0  # pairs
        self._done = done  # names of pairs whose matches are known; they only fill their batches
        self._prepared = prepared
        self._runner = runner
        self._cache = cache
        self._loader = loader
        self._lanes = jobs
        self._listener = listener
        self._broken: dict[str, str] = {}  # image -> why it could not be read
        self._masks: dict[str, PackedMask] = {}  # of the images read so far
        # Parallel batches, and pairs per batch; both fall when memory runs out.
        self._at_once = prepared.compute.jobs
        self._limit = prepared.compute.batch
        self._backed_off = 0
        self._in_work: deque[_InWork] = deque()
        side = prepared.compute.long_side // 32 * 32
        self._pyramids = Pyramids()
        options, settings = prepared.options, match_settings(prepared.options)
        self._tiles = TileMatcher(runner, settings, side, self._pyramids) if options.tiles else None
        long_side = prepared.compute.long_side
        self._focus = FocusMatcher(runner, settings, long_side) if options.focus == "auto" else None
        self._refiner = refiner

    def run(self) -> Iterator[list[tuple[Pair, PairMatches]]]:
        """Yields, batch by batch in the plan's order, the pairs that were not done with their matches; `failed` grows
        meanwhile."""
        batches = unfinished(self._prepared.plan, self._done)
        for position, batch in enumerate(batches):
            self._prefetch(batches, position)
            inputs = self._inputs(batch)
            stand_in = next((given for given in inputs if given is not None), None)
            if stand_in is None:
                continue
            # The stand-in takes the place of failed pairs: a batch keeps its size, and with it the others' last bits.
            given = [each or stand_in for each in inputs]
            work = partial(self._match, batch.pairs, given)
            self._in_work.append(_InWork(batch.pairs, inputs, work, self._lanes.submit(work), self._backed_off))
            # One more than there are jobs, so that none waits while its last matches are written.
            while len(self._in_work) > (self._at_once if self._at_once > 1 else 0):
                yield self._finished(self._in_work.popleft())
        while self._in_work:
            yield self._finished(self._in_work.popleft())

    def _finished(self, batch: _InWork) -> list[tuple[Pair, PairMatches]]:
        found = self._backing_off(batch.found, batch.work, batch.backed_off)
        sound = []
        for pair, given, looked in zip(batch.pairs, batch.inputs, found, strict=True):
            if given is None or not self._is_new(pair):
                continue
            reason = looked if isinstance(looked, str) else defect(looked.matches, given.view0, given.view1)
            if isinstance(looked, str) or reason is not None:
                self._fail(pair, str(reason))
            else:
                sound.append((pair, looked.matches))
                self.looked_again += looked.again
        return sound

    def _prefetch(self, batches: Sequence[PairBatch], position: int) -> None:
        for batch in islice(batches, position, position + LOOK_AHEAD):
            if self._loader.full():
                return
            needed = (name for name in batch.names() if not self._held(name) and name not in self._broken)
            self._loader.prefetch(needed)

    def _held(self, name: str) -> bool:
        """Whether to skip prefetching: features of the photo, in one of its rotations, are cached.

        A photo that is prefetched and then not taken would keep its place in the loader to the end.
        """
        return any(Wanted(name, quarters) in self._cache for quarters in range(4))

    def _inputs(self, batch: PairBatch) -> list[PairInput | None]:
        """The features of each pair of a batch; None for a pair that failed."""
        photos: dict[str, Photo] = {}
        wanted = [(Wanted(pair.name0), Wanted(pair.name1, self._quarters(pair, photos))) for pair in batch.pairs]
        found = self._features([each for pair in wanted for each in pair], photos)
        return [self._input(pair, *sides, found) for pair, sides in zip(batch.pairs, wanted, strict=True)]

    def _input(self, pair: Pair, first: Wanted, second: Wanted, found: dict[Wanted, Features]) -> PairInput | None:
        if first not in found or second not in found:
            self._fail(pair, self._broken.get(pair.name0) or self._broken[pair.name1])
            return None
        view0, view1 = self._prepared.views[pair.name0], self._prepared.views[pair.name1].turned(second.quarters)
        masks = self._masks.get(pair.name0), self._masks.get(pair.name1)
        return PairInput(found[first], found[second], view0, view1, *masks)

    def _quarters(self, pair: Pair, photos: dict[str, Photo]) -> int:
        """How many quarter turns rotate the second photo to match the first."""
        if self._prepared.options.rotate != "auto":
            return 0
        first = Wanted(pair.name0, small=True)
        turned = [Wanted(pair.name1, quarters, small=True) for quarters in range(4)]
        found = self._features([first, *turned], photos)
        if len(found) < 5:
            return 0
        probe = partial(
            best_quarters,
            lambda quarters: count_upright(self._runner.coarse_points(found[first], found[turned[quarters]])),
            found[first].coarse8[0, 0].numel(),
        )
        return self._backing_off(self._lanes.submit(probe), probe, self._backed_off)

    def _features(self, wanted: Sequence[Wanted], photos: dict[str, Photo]) -> dict[Wanted, Features]:
        """Features from the cache or the backbone, without those of photos that cannot be read.

        `photos` are those decoded for the batch so far; photos decoded now are added.
        """
        found: dict[Wanted, Features] = {}
        computing: list[tuple[Wanted, Photo, Future[Features]]] = []
        before = self._backed_off
        for each in dict.fromkeys(wanted):
            features = self._cache.get(each) if each.name not in self._broken else None
            if features is not None:
                found[each] = features
            elif (photo := photos.get(each.name) or self._photo(each.name)) is not None:
                photos[each.name] = photo
                given = each.of(photo)
                computing.append((each, given, self._lanes.submit(self._runner.extract, given.gray, given.mask)))
        for each, given, future in computing:
            again = partial(self._runner.extract, given.gray, given.mask)
            found[each] = self._backing_off(future, again, before)
            self._cache.put(each, found[each])
        return found

    def _photo(self, name: str) -> Photo | None:
        """A decoded photo; None when it cannot be read."""
        if name in self._broken:
            return None
        try:
            photo = self._loader.take(name)
        except ImageError as error:
            self._broken[name] = str(error)
            return None
        if photo.raw_mask is not None:
            self._masks[name] = photo.raw_mask
        return photo

    def _match(self, pairs: Sequence[Pair], inputs: Sequence[PairInput]) -> "list[Looked | str]":
        limit = self._limit
        starts = range(0, len(inputs), limit)
        found = [matches for start in starts for matches in self._runner.match(inputs[start : start + limit])]
        return [self._at_full_size(*work) for work in zip(pairs, inputs, found, strict=True)]

    def _at_full_size(self, pair: Pair, given: PairInput, first: PairMatches) -> Looked | str:
        """What the options make of a pair's matches with the photos at their original size."""
        infos, looked = self._prepared.infos, Looked(first, False)
        try:
            if self._focus is not None:
                source0 = self._source(pair.name0, given.view0, given.mask0)
                source1 = self._source(pair.name1, given.view1, given.mask1)
                looked = self._focus.match(given, first, source0, source1)
            found = looked.matches
            if self._tiles is not None:
                found = self._tiles.match(infos[pair.name0], infos[pair.name1], given, found)
            if self._refiner is not None:
                found = self._refiner.refine(infos[pair.name0], infos[pair.name1], given, found)
        except ImageError as error:
            return str(error)
        return looked._replace(matches=found)

    def _source(self, name: str, view: PhotoGeometry, mask: PackedMask | None) -> Source:
        return partial(self._pyramids.get, self._prepared.infos[name], mask, view.orientation)

    def _backing_off(self, first: "Future[T]", again: Callable[[], T], before: int) -> T:
        """The result of `first`; while memory runs out, the result of `again()` with less in memory.

        `before` is how often memory had run out when `first` was begun: when another batch has backed off since then,
        trying again alone may be enough. Raises Stopped when nothing more can be freed.
        """
        while True:
            try:
                return first.result()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the handler, as the traceback keeps tensors alive.
            wait([batch.found for batch in self._in_work])
            if self._backed_off == before:
                self._back_off()
            before = self._backed_off
            first = self._lanes.submit(again)

    def _back_off(self) -> None:
        """Uses less memory: first only one batch at a time, then smaller batches; no pair is given up."""
        if self._limit == 1 and self._at_once == 1 and len(self._cache) == 0:
            raise Stopped(
                f"{self._prepared.options.out}: out of memory for a single pair at --long-side "
                f"{self._prepared.compute.long_side}; free some memory and run the same command again to resume"
            )
        self._backed_off += 1
        self._cache.shrink()
        self._runner.release()
        if self._at_once > 1:
            self._at_once = 1
            self._listener(Notice("out of memory: astr emptied the feature cache and now computes one batch at a time"))
            return
        self._limit = max(self._limit // 2, 1)
        self._listener(
            Notice(
                f"out of memory: astr emptied the feature cache and lowered --batch to {self._limit}; "
                "from here on, results may differ in the last digits from a run with enough memory"
            )
        )

    def _is_new(self, pair: Pair) -> bool:
        return (pair.name0, pair.name1) not in self._done

    def _fail(self, pair: Pair, reason: str) -> None:
        if self._is_new(pair):
            self.failed.append(FailedPair(pair.name0, pair.name1, reason))
            self._listener(PairFailed(pair.name0, pair.name1, reason))
