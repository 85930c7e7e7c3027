"""The Python API: two photos in, typed matches out."""

import difflib
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from astr_cli.errors import AstrError
from astr_cli.images.decode import read_gray
from astr_cli.images.geometry import resize
from astr_cli.images.info import read_info
from astr_cli.images.masks import PackedMask, shrink_mask
from astr_cli.images.upright import UPRIGHT
from astr_cli.matching.focus.matcher import FocusMatcher
from astr_cli.matching.photos.geometry import PhotoGeometry, exif_intrinsics, photo_geometry
from astr_cli.matching.regions.pyramid import Level
from astr_cli.matching.resources.compute import match_settings, resolve_compute
from astr_cli.matching.resources.cores import CoreSplit, JobPool, fitting
from astr_cli.matching.run.model_runner import PairInput, Runner, defect, off_masks
from astr_cli.matching.run.refinement import matched_pixel, refined
from astr_cli.model.checkpoint import load_weights
from astr_cli.model.watching import Kept
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.option import OptionError, declared
from astr_cli.refine.pyramid import build_pyramid
from astr_cli.refine.settings import Settings
from astr_cli.resources import weights_path
from astr_cli.store.types import PairMatches

Mask: TypeAlias = npt.NDArray[np.bool_]
Photo: TypeAlias = str | PathLike[str] | npt.NDArray[Any]


@dataclass(frozen=True)
class Matches:
    """Matches of two photos in pixels of the originals as stored (EXIF orientation not applied).

    The centre of the top-left pixel is at (0, 0). First all rows with `reference` 0, then all with 1, each by falling
    score.
    """

    keypoints0: npt.NDArray[np.float32]
    """(M, 2) x, y in image0."""
    keypoints1: npt.NDArray[np.float32]
    """(M, 2) x, y in image1."""
    scores: npt.NDArray[np.float32]
    """(M,) of the coarse matches, in [0, 1]."""
    reference: npt.NDArray[np.uint8]
    """(M,) the image whose keypoint is the centre of a grid cell; the other one was refined."""
    sigma: npt.NDArray[np.float32] | None = None
    """(M,) with refine_matches: standard deviation of the other point, in pixels of the original; NaN where it was left
    as matched."""

    def __len__(self) -> int:
        return len(self.scores)


class Look(NamedTuple):
    """One matching of two photos, and what the network did."""

    pair: PairInput
    grays: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """(h, w) in [0, 1]: the photos as the network saw them."""
    found: PairMatches
    """In the pixels of the raw photos, before the masks; the rows with `reference` 0 in the order of the coarse
    matches, then the others in the same order."""
    stays: npt.NDArray[np.bool_]
    """Which rows the masks of the raw photos keep."""
    kept: Kept

    @property
    def matches(self) -> PairMatches:
        """The matches of the pair."""
        return self.found.where(self.stays)


class Matcher:
    """Loaded weights, ready to match two photos at a time.

    >>> matcher = Matcher.load("astr-small")
    >>> matches = matcher.match("a.jpg", "b.jpg")
    >>> matches.keypoints0, matches.keypoints1, matches.scores
    """

    def __init__(
        self,
        runner: Runner,
        long_side: int,
        split: CoreSplit,
        focus: FocusMatcher | None = None,
        refine: bool = False,
    ) -> None:
        self._runner = runner
        self._long_side = long_side
        self._split = split
        self._focus = focus
        self._refine = refine

    @classmethod
    def load(
        cls,
        weights: str | PathLike[str] = "astr-small",
        device: str | None = None,
        **options: Any,
    ) -> "Matcher":
        """Loads weights by shipped name or path.

        `options` are those of `astr match` that concern two photos: long_side, threshold, max_matches, one_way,
        scaling, adaptive, focus, precision, refine_matches (docs/options.md, Matching; help(MatchingOptions)).

        Raises WeightsError for weights that cannot be used, OptionError for an option that does not exist, is invalid
        or is not available on this machine.
        """
        return cls.from_options(_options(weights=str(weights), device=device or "auto", **options))

    @classmethod
    def from_options(cls, options: MatchingOptions) -> "Matcher":
        """As `load`, from an instance of the options."""
        compute = resolve_compute(options)
        loaded = load_weights(weights_path(options.weights))
        settings = match_settings(options)
        runner = Runner(loaded.model, compute.device, compute.precision, settings, compute.threads)
        focus = FocusMatcher(runner, settings, compute.long_side) if options.focus == "auto" else None
        split = CoreSplit(compute.jobs, compute.threads)
        return cls(runner, compute.long_side, split, focus, options.refine_matches)

    def match(
        self,
        image0: Photo,
        image1: Photo,
        intrinsics0: npt.ArrayLike | None = None,
        intrinsics1: npt.ArrayLike | None = None,
    ) -> Matches:
        """Matches two photos, each a path or an array: (h, w) grey or (h, w, 3) RGB, uint8 or floats in [0, 1].

        A pair gets as many threads as in `astr match`: another number would change the last bits.

        Photos from paths are made upright by their EXIF orientation; points still refer to the stored pixels.

        `intrinsics0` and `intrinsics1` are (3, 3) camera matrices in pixels of the originals, None when unknown; for a
        path the focal length of its EXIF data is used then. Raises ImageError for a file that cannot be read and
        AstrError for an array or a camera matrix of another form.
        """
        raw0, view0 = self._read(image0, intrinsics0, "image0")
        raw1, view1 = self._read(image1, intrinsics1, "image1")
        whole0, whole1 = _upright(raw0, view0), _upright(raw1, view1)
        pair = self._extracted(whole0, whole1, view0, view1)
        found = self._runner.match([pair])[0]
        if self._focus is not None:
            found = self._focus.match(pair, found, whole0.resized, whole1.resized).matches
        reason = defect(found, view0, view1)
        if reason is not None:
            raise AstrError(f"{reason}; the weights may be damaged or made for another model: try others")
        if self._refine:
            photos, pixels = (build_pyramid(raw0), build_pyramid(raw1)), (matched_pixel(view0), matched_pixel(view1))
            found = refined(found, photos, pixels, Settings())
        return Matches(found.keypoints0, found.keypoints1, found.scores, found.reference, found.sigma)

    def _extracted(self, whole0: Level, whole1: Level, view0: PhotoGeometry, view1: PhotoGeometry) -> PairInput:
        """Features of both photos, upright and of any size."""
        photos = _shrunk(whole0, view0), _shrunk(whole1, view1)
        largest = max(gray.size for gray, _ in photos)
        with closing(JobPool(fitting(self._split, largest, self._runner.channels))) as jobs:
            extracted = [jobs.submit(self._runner.extract, *photo) for photo in photos]
            features0, features1 = (each.result() for each in extracted)
        return PairInput(features0, features1, view0, view1)

    def look(self, image0: Photo, image1: Photo, masks: tuple[Mask, Mask] | None = None) -> Look:
        """Matches two photos once, as `match` does without focus and refinement, and keeps what the network did.

        masks: (h, w) of both raw photos, True = to be matched.
        """
        raw0, view0 = self._read(image0, None, "image0")
        raw1, view1 = self._read(image1, None, "image1")
        mask0, mask1 = masks or (None, None)
        whole0, whole1 = _upright(raw0, view0, mask0), _upright(raw1, view1, mask1)
        pair = self._extracted(whole0, whole1, view0, view1)
        with self._runner.watched() as kept:
            found = self._runner.match([pair])[0]
        if masks is not None:
            pair = pair._replace(mask0=PackedMask.of(masks[0]), mask1=PackedMask.of(masks[1]))
        grays = _seen(whole0, view0), _seen(whole1, view1)
        return Look(pair, grays, found, off_masks(found, pair), kept)

    def _read(
        self, photo: Photo, intrinsics: npt.ArrayLike | None, name: str
    ) -> tuple[npt.NDArray[np.uint8], PhotoGeometry]:
        """(h, w) as stored, and how it is matched."""
        known = _camera_matrix(intrinsics, name)
        if isinstance(photo, (str, PathLike)):
            path = Path(photo)
            gray, info = read_gray(path), read_info(path.parent, path.name)
            known, orientation = exif_intrinsics(info) if known is None else known, info.orientation
        else:
            gray, orientation = _to_gray(np.asarray(photo), name), UPRIGHT
        return gray, photo_geometry((gray.shape[1], gray.shape[0]), self._long_side, known, orientation)


def _upright(gray: npt.NDArray[np.uint8], view: PhotoGeometry, mask: Mask | None = None) -> Level:
    turned = Level(gray, mask).turned(view.orientation)
    return Level(np.ascontiguousarray(turned.pixels), None if mask is None else np.ascontiguousarray(turned.mask))


def _shrunk(whole: Level, view: PhotoGeometry) -> tuple[npt.NDArray[np.float32], Mask | None]:
    """A photo and its mask at the matched size."""
    mask = None if whole.mask is None else shrink_mask(whole.mask, view.matched)
    return resize(whole.pixels, view.matched), mask


def _seen(whole: Level, view: PhotoGeometry) -> npt.NDArray[np.float32]:
    """What the network saw: black where a mask is."""
    gray, mask = _shrunk(whole, view)
    return gray if mask is None else gray * mask


def _options(**given: Any) -> MatchingOptions:
    known = [each.key for each in declared(MatchingOptions) if not each.option.files_only]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise OptionError(f"{name}: not an option of Matcher.load; did you mean {near}?")
    return MatchingOptions(**given)


def _to_gray(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """(h, w) uint8 from grey or RGB, uint8 or floats in [0, 1]; Rec. 601 luma, as for photos on disk."""
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if not (pixels.ndim == 2 or colour) or pixels.size == 0:
        raise AstrError(f"{name}: expected an array (h, w) or (h, w, 3), got {pixels.shape}")
    if np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise AstrError(f"{name}: expected floats in [0, 1]; divide by 255, or pass uint8")
        scaled = pixels * 255.0
    elif pixels.dtype == np.uint8:
        scaled = pixels
    else:
        raise AstrError(f"{name}: expected uint8 or floats in [0, 1], got {pixels.dtype}")
    gray = scaled @ np.array([0.299, 0.587, 0.114]) if colour else scaled
    return np.rint(gray).astype(np.uint8)


def _camera_matrix(intrinsics: npt.ArrayLike | None, name: str) -> npt.NDArray[np.float64] | None:
    if intrinsics is None:
        return None
    matrix = np.asarray(intrinsics, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise AstrError(f"intrinsics of {name}: expected a (3, 3) camera matrix with focal lengths above 0")
    return matrix
