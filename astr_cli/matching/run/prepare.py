"""The checks before a run computes anything, and the prepared run that passed them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import Catalogue, catalogue
from astr_cli.images.decode import decoding_bytes
from astr_cli.images.info import ImageInfo
from astr_cli.images.mask_checks import mask_warnings
from astr_cli.images.masks import find_masks
from astr_cli.matching.photos.geometry import CameraSource, PhotoGeometry, photo_geometries, read_camera_source
from astr_cli.matching.resources.compute import Compute, resolve_compute
from astr_cli.matching.resources.memory import decoding_limit
from astr_cli.matching.run.events import FailedPair, Listener, Notice
from astr_cli.matching.run.plan import PairBatch, make_plan
from astr_cli.model.checkpoint import LoadedWeights, load_weights
from astr_cli.options.matching import MatchOptions
from astr_cli.pairs.reading import Pair, PairList, read_pairs
from astr_cli.resources import weights_path


class PreparedRun(NamedTuple):
    """A run whose inputs have all passed the checks."""

    options: MatchOptions
    compute: Compute
    weights: LoadedWeights
    pairs: tuple[Pair, ...]
    """The pairs to match, in the order of the pairs file."""
    skipped: tuple[FailedPair, ...]
    """The pairs that `--skip-bad` left out."""
    cameras: CameraSource
    infos: Mapping[str, ImageInfo]
    views: Mapping[str, PhotoGeometry]
    masks: Mapping[str, Path] | None
    """The mask of each photo that has one; None: a run without masks."""
    plan: list[PairBatch]
    """All pairs, also those that an earlier run matched."""


def prepare(options: MatchOptions, listener: Listener) -> PreparedRun:
    """Reads pairs, image headers, cameras and weights.

    Raises an AstrError (exit code 2) for every problem that forbids a start (docs/design.md, Errors).
    """
    compute = resolve_compute(options)
    listed = read_pairs(options.pairs)
    _tell_duplicates(listed, options, listener)
    found = catalogue(options.root, (name for pair in listed.pairs for name in (pair.name0, pair.name1)))
    found = _without_giants(found, options, compute.long_side)
    if found.errors and not options.skip_bad:
        raise AstrError(_bad_images(listed, found, options))
    skipped = [failed for pair in listed.pairs if (failed := _skip(pair, found.errors)) is not None]
    pairs = tuple(pair for pair in listed.pairs if _skip(pair, found.errors) is None)
    if not pairs:
        raise AstrError(f"{_shown(options)}: every pair contains an unusable image, for example {skipped[0].reason}")
    cameras = read_camera_source(options.cameras)
    known = cameras.intrinsics(found.infos)
    for note in known.notes:
        listener(Notice(note))
    views = photo_geometries(found.infos, known, compute.long_side, options.rotate != "none")
    masks = None if options.masks is None else find_masks(options.masks, list(found.infos))
    for warning in mask_warnings(masks or {}):
        listener(Notice(warning))
    weights = load_weights(weights_path(options.weights))
    plan = make_plan(pairs, {name: view.matched for name, view in views.items()}, compute.batch)
    return PreparedRun(options, compute, weights, pairs, tuple(skipped), cameras, found.infos, views, masks, plan)


def _without_giants(found: Catalogue, options: MatchOptions, long_side: int) -> Catalogue:
    """The photos that fit into memory when decoded; the others are errors. Tiles and refinement need whole photos."""
    limit = decoding_limit(options.memory, options.workers)
    least = None if options.tiles or options.refine_matches else (2 * long_side, 2 * long_side)
    sizes = {name: decoding_bytes(info, least) for name, info in found.infos.items()}
    errors = {
        name: f"{name}: decoding its {found.infos[name].width}x{found.infos[name].height} pixels takes about "
        f"{needed / 1e9:.1f} GB, more than the limit of {limit / 1e9:.1f} GB; save a smaller copy, or raise --memory"
        for name, needed in sizes.items()
        if needed > limit
    }
    return Catalogue(
        {name: info for name, info in found.infos.items() if name not in errors}, {**found.errors, **errors}
    )


def _skip(pair: Pair, errors: Mapping[str, str]) -> FailedPair | None:
    reason = errors.get(pair.name0) or errors.get(pair.name1)
    return None if reason is None else FailedPair(pair.name0, pair.name1, reason)


def _tell_duplicates(listed: PairList, options: MatchOptions, listener: Listener) -> None:
    if not listed.duplicates:
        return
    first = listed.duplicates[0]
    count = len(listed.duplicates)
    more = f" (and {count - 1} more)" if count > 1 else ""
    listener(Notice(f"{_shown(options)}:{first.line}: {first.name0} {first.name1} is a repeated pair; ignored{more}"))


def _bad_images(listed: PairList, found: Catalogue, options: MatchOptions) -> str:
    """The first bad image, with the line that names it, and the names of others."""
    first = next(pair for pair in listed.pairs if _skip(pair, found.errors) is not None)
    bad = first.name0 if first.name0 in found.errors else first.name1
    return f"{_shown(options)}:{first.line}: {found.complaint(bad)}; use --skip-bad to match without bad images"


def _shown(options: MatchOptions) -> str:
    return "standard input" if str(options.pairs) == "-" else str(options.pairs)
