"""The model on its device: one image to features, a batch of pairs to matches in original pixels."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from astr_cli.images.masks import PackedMask
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.resources.cores import use_threads
from astr_cli.model.astr import Astr, MatchSettings, RawMatches
from astr_cli.model.backbone import Features
from astr_cli.model.coarse import cell_centres
from astr_cli.model.watching import Kept, watched
from astr_cli.options.matching import Precision
from astr_cli.store.types import PairMatches


class PairInput(NamedTuple):
    """One pair, ready to be matched."""

    features0: Features
    features1: Features
    view0: PhotoGeometry
    view1: PhotoGeometry
    mask0: PackedMask | None = None
    mask1: PackedMask | None = None


class Runner:
    """A model on a device, in a precision.

    On a CPU every image and every batch is computed by `threads` of torch's threads (None: all), in any calling
    thread: the work of other threads changes no bit.
    """

    def __init__(
        self,
        model: Astr,
        device: torch.device,
        precision: Precision,
        settings: MatchSettings,
        threads: int | None = None,
    ) -> None:
        self.device = device
        self._model = model.to(device).eval()
        self._precision = precision
        self._settings = settings
        self._threads = torch.get_num_threads() if threads is None else threads

    @property
    def channels(self) -> int:
        """How many channels the model's largest maps have."""
        return self._model.config.stem

    def extract(self, gray: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None) -> Features:
        """Features of one image (h, w) in [0, 1], alone in its batch, so that no other image changes its bits.

        Pixels where `mask` (h, w) is False are not matched.
        """
        image = torch.from_numpy(np.ascontiguousarray(gray))[None, None].to(self.device)
        valid = None if mask is None else torch.from_numpy(np.ascontiguousarray(mask))[None].to(self.device)
        with self._computing():
            return self._model.extract(image, valid, self._settings.adaptive)

    def match(self, batch: Sequence[PairInput]) -> list[PairMatches]:
        """Matches of pairs whose matched sizes agree, in the pixels of the raw photos."""
        with self._computing():
            raw = self._model.match(
                _stack([pair.features0 for pair in batch]),
                _stack([pair.features1 for pair in batch]),
                _intrinsics([pair.view0 for pair in batch]),
                _intrinsics([pair.view1 for pair in batch]),
                self._settings,
            )
            return [_to_original(matches, pair) for matches, pair in zip(raw, batch, strict=True)]

    @contextmanager
    def watched(self) -> Iterator[Kept]:
        """Keeps what the model does with the pair that is matched in the block."""
        with watched(self._model, self._settings) as kept:
            yield kept

    def coarse_points(self, features0: Features, features1: Features) -> npt.NDArray[np.float64]:
        """One pair's coarse matches, (2, M, 2): the centres of their cells in matched pixels of both images."""
        with self._computing():
            found = self._model.coarse(features0, features1, self._settings)[1][0]
            sides = ((found.cells0, features0), (found.cells1, features1))
            points = [cell_centres(cells, features.coarse8.shape[3]) for cells, features in sides]
            return torch.stack(points).double().cpu().numpy()

    def release(self) -> None:
        """Returns memory that no tensor uses to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        bf16 = torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16")
        with (
            torch.inference_mode(),
            bf16,
            _GPU_FLAGS[self._precision] if self.device.type == "cuda" else use_threads(self._threads),
        ):
            yield


class _GpuFlags:
    """torch's flags for a GPU, which belong to the process, from the first thread that enters to the last that leaves.

    Without them cudnn's benchmark mode and non-deterministic algorithms would give other bytes on every run. With bf16
    the float32 products that are left, whose factors are bf16 numbers mostly, may take the tensor cores too.
    """

    def __init__(self, precision: Precision) -> None:
        self._products = "high" if precision == "bf16" else "highest"
        self._lock = threading.Lock()
        self._inside = 0
        self._before: ExitStack | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = ExitStack()
                cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
                self._before.enter_context(cudnn)
                self._before.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
                torch.set_float32_matmul_precision(self._products)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._before is not None:
                self._before.close()


_GPU_FLAGS: dict[Precision, _GpuFlags] = {"bf16": _GpuFlags("bf16"), "fp32": _GpuFlags("fp32")}


def _stack(features: Sequence[Features]) -> Features:
    if len(features) == 1:
        return features[0]
    masks = [each.mask8 for each in features if each.mask8 is not None]
    small = [each.small for each in features if each.small is not None]
    return Features(
        torch.cat([each.coarse32 for each in features]),
        torch.cat([each.coarse8 for each in features]),
        torch.cat([each.fine for each in features]),
        torch.cat(masks) if masks else None,
        _stack(small) if small else None,
    )


def _intrinsics(views: Sequence[PhotoGeometry]) -> Tensor | None:
    """(B, 3, 3) float64, a matrix of NaN for an unknown camera; None when all are unknown."""
    if all(view.intrinsics is None for view in views):
        return None
    unknown = np.full((3, 3), np.nan)
    return torch.from_numpy(np.stack([unknown if view.intrinsics is None else view.intrinsics for view in views]))


def _to_original(raw: RawMatches, pair: PairInput) -> PairMatches:
    matches = PairMatches(
        keypoints0=pair.view0.to_raw(raw.keypoints0.float().cpu().numpy()),
        keypoints1=pair.view1.to_raw(raw.keypoints1.float().cpu().numpy()),
        scores=raw.scores.float().cpu().numpy(),
        reference=raw.reference.cpu().numpy(),
    )
    return matches if pair.mask0 is None and pair.mask1 is None else matches.where(off_masks(matches, pair))


def off_masks(matches: PairMatches, pair: PairInput) -> npt.NDArray[np.bool_]:
    """(M,) whether the masks of the raw photos keep both points; the mask of the model's cells is a coarse one."""
    keep = np.ones(len(matches), np.bool_)
    for mask, points in ((pair.mask0, matches.keypoints0), (pair.mask1, matches.keypoints1)):
        if mask is not None:
            keep &= mask.passes(points)
    return keep


def defect(matches: PairMatches, view0: PhotoGeometry, view1: PhotoGeometry) -> str | None:
    """The defect that forbids storing matches (a number that is not finite, a point outside its photo), or None."""
    if not np.isfinite(matches.scores).all():
        return "the model gave a score that is not finite"
    for side, points, view in ((0, matches.keypoints0, view0), (1, matches.keypoints1, view1)):
        if not np.isfinite(points).all():
            return f"the model gave a point of image{side} that is not finite"
        # Pixel centres are whole numbers, so a photo reaches from -0.5 to w - 0.5.
        if points.size and (points.min() < -0.5 or (points > np.asarray(view.size) - 0.5).any()):
            return f"the model gave a point outside of image{side}"
    return None
