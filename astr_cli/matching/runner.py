"""The model on its device: one image to features, a batch of pairs to matches in original pixels."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from astr_cli.images import to_original
from astr_cli.matching.lanes import use_threads
from astr_cli.matching.options import Precision
from astr_cli.model import Astr, Features, MatchSettings, RawMatches
from astr_cli.store import PairMatches


class View(NamedTuple):
    """An image as the model sees it."""

    size: tuple[int, int]
    """(w, h) of the raw photo."""
    working: tuple[int, int]
    """(w, h) after resizing, multiples of 32."""
    intrinsics: npt.NDArray[np.float64] | None
    """(3, 3) in working pixels, centre of the top-left pixel at (0, 0); None when unknown."""


class PairInput(NamedTuple):
    """One pair, ready to be matched."""

    features0: Features
    features1: Features
    view0: View
    view1: View


class Runner:
    """A model on a device, in a precision.

    On a CPU every image and every batch is computed by `threads` of torch's threads, whoever calls: what else is in
    work at that time, in other threads, changes no bit.
    """

    def __init__(
        self, model: Astr, device: torch.device, precision: Precision, settings: MatchSettings, threads: int = 1
    ) -> None:
        self.device = device
        self._model = model.to(device).eval()
        self._precision = precision
        self._settings = settings
        self._threads = threads

    def extract(self, gray: npt.NDArray[np.float32]) -> Features:
        """Features of one image (h, w) in [0, 1], alone in its batch, so that no other image changes its bits."""
        image = torch.from_numpy(np.ascontiguousarray(gray))[None, None]
        with self._computing():
            return self._model.extract(image.to(self.device))

    def match(self, batch: Sequence[PairInput]) -> list[PairMatches]:
        """Matches of pairs whose working sizes agree, in the pixels of the raw photos."""
        with self._computing():
            raw = self._model.match(
                _stack([pair.features0 for pair in batch]),
                _stack([pair.features1 for pair in batch]),
                _intrinsics([pair.view0 for pair in batch]),
                _intrinsics([pair.view1 for pair in batch]),
                self._settings,
            )
            return [_to_original(matches, pair) for matches, pair in zip(raw, batch, strict=True)]

    def release(self) -> None:
        """Gives memory that no tensor holds back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        bf16 = torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16")
        with (
            torch.inference_mode(),
            bf16,
            _reproducible() if self.device.type == "cuda" else use_threads(self._threads),
        ):
            yield


def _reproducible() -> AbstractContextManager[None]:
    """Without this, cudnn's benchmark mode and non-deterministic algorithms would give other bytes on every run."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _stack(features: Sequence[Features]) -> Features:
    if len(features) == 1:
        return features[0]
    masks = [each.mask8 for each in features if each.mask8 is not None]
    return Features(
        torch.cat([each.coarse32 for each in features]),
        torch.cat([each.coarse8 for each in features]),
        torch.cat([each.fine for each in features]),
        torch.cat(masks) if masks else None,
    )


def _intrinsics(views: Sequence[View]) -> Tensor | None:
    """(B, 3, 3) float64, a matrix of NaN for an unknown camera; None when all are unknown."""
    if all(view.intrinsics is None for view in views):
        return None
    unknown = np.full((3, 3), np.nan)
    return torch.from_numpy(np.stack([unknown if view.intrinsics is None else view.intrinsics for view in views]))


def _to_original(raw: RawMatches, pair: PairInput) -> PairMatches:
    return PairMatches(
        keypoints0=to_original(raw.keypoints0.float().cpu().numpy(), pair.view0.size, pair.view0.working),
        keypoints1=to_original(raw.keypoints1.float().cpu().numpy(), pair.view1.size, pair.view1.working),
        scores=raw.scores.float().cpu().numpy(),
        reference=raw.reference.cpu().numpy(),
    )


def defect(matches: PairMatches, view0: View, view1: View) -> str | None:
    """What makes matches unfit to be stored: a number that is not finite, a point outside of its photo; else None."""
    if not np.isfinite(matches.scores).all():
        return "the model gave a score that is not finite"
    for side, points, view in ((0, matches.keypoints0, view0), (1, matches.keypoints1, view1)):
        if not np.isfinite(points).all():
            return f"the model gave a point of image{side} that is not finite"
        # Pixel centres are whole numbers, so a photo reaches from -0.5 to w - 0.5.
        if points.size and (points.min() < -0.5 or (points > np.asarray(view.size) - 0.5).any()):
            return f"the model gave a point outside of image{side}"
    return None
