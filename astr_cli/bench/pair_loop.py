"""The engine's baseline: the same model, one pair at a time, with both backbones run for every pair."""

from time import perf_counter, process_time
from typing import NamedTuple

from astr_cli.images.info import read_info
from astr_cli.matching.photos.geometry import exif_intrinsics, photo_geometry
from astr_cli.matching.photos.loader import load_image
from astr_cli.matching.resources.compute import match_settings, resolve_compute
from astr_cli.matching.resources.stopwatch import Stopwatch
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.model.checkpoint import load_weights
from astr_cli.options.matching import MatchOptions
from astr_cli.resources import weights_path


class LoopPair(NamedTuple):
    """One pair of the loop."""

    names: tuple[str, str]
    seconds: float
    core_seconds: float
    matches: int


class Loop:
    """As in hloc: read two photos, run the whole network on them with all of torch's threads, take the next two."""

    def __init__(self, options: MatchOptions) -> None:
        self.compute = resolve_compute(options)
        self.stopwatch = Stopwatch(self.compute.device)
        self.model = load_weights(weights_path(options.weights)).model
        self._root = options.root
        self._runner = Runner(self.model, self.compute.device, self.compute.precision, match_settings(options))
        self.stopwatch.watch(self.model)

    def match(self, name0: str, name1: str) -> LoopPair:
        """One pair, from photos to matches in memory; the stopwatch runs."""
        start, on_cores = perf_counter(), process_time()
        pair = self.read(name0, name1)
        rows = self.match_features(pair)
        return LoopPair((name0, name1), perf_counter() - start, process_time() - on_cores, rows)

    def read(self, name0: str, name1: str) -> PairInput:
        """Both photos' features."""
        features, views = [], []
        for name in (name0, name1):
            info = read_info(self._root, name)
            view = photo_geometry(info.size, self.compute.long_side, exif_intrinsics(info), info.orientation)
            with self.stopwatch.time("decode"):
                gray = load_image(info, view.matched, view.orientation)
            features.append(self._runner.extract(gray))
            views.append(view)
        return PairInput(features[0], features[1], views[0], views[1])

    def match_features(self, pair: PairInput) -> int:
        """Number of rows that the matched pair has."""
        return len(self._runner.match([pair])[0])
