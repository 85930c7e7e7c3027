"""ASTR, top to bottom: backbone, aggregation, coarse matches, adaptive scaling, fine stage."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from astr_cli.model import early
from astr_cli.model.aggregation import Aggregated, Aggregation
from astr_cli.model.backbone import Backbone, Features
from astr_cli.model.coarse import CoarseMatches, cell_centres, coarse_matches
from astr_cli.model.config import AstrConfig
from astr_cli.model.fine import FineMaps, FineStage, Windows
from astr_cli.model.layers import to_tokens
from astr_cli.model.scaling import scale_ratios
from astr_cli.ops.matching import BestMatches


@dataclass(frozen=True)
class MatchSettings:
    """The options that change a result."""

    threshold: float = 0.2  # on P_c
    max_matches: int | None = None  # coarse matches kept, the best first
    one_way: bool = False  # only rows with image0 on the grid
    scaling: Literal["auto", "off"] = "auto"  # auto: intrinsics where both are known, else local affine
    adaptive: bool = False  # pairs without overlap end early, without matches; easy ones keep their spots


class RawMatches(NamedTuple):
    """Matches of one pair in matched pixels, centre of the top-left pixel at (0, 0).

    All rows with `reference` 0 (score falling, ties by cell), then those with 1; both from the same coarse matches.
    NOTE the paper gives the former only (docs/model.md, Both ways).
    """

    keypoints0: Tensor  # (M, 2) float32
    keypoints1: Tensor  # (M, 2) float32
    scores: Tensor  # (M,) float32, of the coarse match
    reference: Tensor  # (M,) uint8: the image whose keypoint is a cell centre; the other one was refined


class Astr(nn.Module):
    """The matcher. `extract` once for each image, `match` once for each pair; `folded` is the exported form."""

    def __init__(self, config: AstrConfig, folded: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, folded)
        self.aggregation = Aggregation(config)
        self.fine = FineStage(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract(self, images: Tensor, masks: Tensor | None = None, adaptive: bool = False) -> Features:
        """Grey images (B, 1, H, W) float32 in [0, 1], sides multiples of 32; masks (B, H, W) bool, True = valid.

        adaptive: also those of small copies, for pairs that may end early. Raises ValueError on other shapes.
        """
        if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(f"expected images (B, 1, 32 m, 32 n), got {tuple(images.shape)}")
        if masks is not None and masks.shape != (images.shape[0], *images.shape[2:]):
            raise ValueError(f"expected masks {(images.shape[0], *images.shape[2:])}, got {tuple(masks.shape)}")
        features: Features = self.backbone(images, masks)
        if not adaptive or features.coarse8[0, 0].numel() < early.FEWEST_CELLS:
            return features
        return features._replace(small=self.backbone(*early.small_copies(images, masks)))

    def match(
        self,
        features0: Features,
        features1: Features,
        intrinsics0: Tensor | None = None,  # (B, 3, 3) of the matched images; NaN or None = unknown
        intrinsics1: Tensor | None = None,
        settings: MatchSettings = MatchSettings(),
    ) -> list[RawMatches]:
        """Match B pairs; image0s share one shape and image1s share one, which may differ from the other."""
        aggregated, found = self.coarse(features0, features1, settings)
        grids = features0.coarse8.shape[3], features1.coarse8.shape[3]
        windows = []
        for index, coarse in enumerate(found):
            points0, points1 = cell_centres(coarse.cells0, grids[0]), cell_centres(coarse.cells1, grids[1])
            ratios = self.ratios(points0, points1, _known(intrinsics0, index), _known(intrinsics1, index), settings)
            coarse0 = _rows(aggregated, aggregated.coarse0, index, coarse.cells0)
            coarse1 = _rows(aggregated, aggregated.coarse1, index, coarse.cells1)
            windows.append(Windows(points0, points1, ratios, coarse0, coarse1))
        maps = FineMaps(features0.fine, features1.fine, [len(each.ratios) for each in windows])
        return self.refined(maps, windows, [coarse.scores for coarse in found], settings)

    def coarse(
        self, features0: Features, features1: Features, settings: MatchSettings
    ) -> tuple[Aggregated, list[CoarseMatches]]:
        """All steps before the fine stage: both images' aggregated features, and each pair's coarse matches."""
        aggregated = self.aggregation(features0, features1, adaptive=settings.adaptive)
        nothing = torch.zeros(0, dtype=torch.int64, device=features0.coarse8.device)
        found = [CoarseMatches(nothing, nothing, nothing.float())] * len(features0.coarse8)
        for place, index in enumerate(aggregated.pairs):
            best0, best1 = aggregated.matching.best()
            found[index] = coarse_matches(
                BestMatches(best0.cells[place], best0.log_p[place]),
                BestMatches(best1.cells[place], best1.log_p[place]),
                _grid(features0),
                _grid(features1),
                settings.threshold,
                self.config.border,
                settings.max_matches,
            )
        return aggregated, found

    def ratios(
        self,
        points0: Tensor,
        points1: Tensor,
        intrinsics0: Tensor | None,
        intrinsics1: Tensor | None,
        settings: MatchSettings,
    ) -> Tensor:
        """Scale ratio of each match, (M,) float32: size of an object in image1 over its size in image0."""
        if settings.scaling == "off":
            return torch.ones(len(points0), device=points0.device)
        ratios = scale_ratios(
            points0.cpu().numpy(),
            points1.cpu().numpy(),
            None if intrinsics0 is None else intrinsics0.double().cpu().numpy(),
            None if intrinsics1 is None else intrinsics1.double().cpu().numpy(),
            self.config.ratio_limit,
            self.config.focal_ratio,
        )
        return torch.from_numpy(ratios).float().to(points0.device)

    def refined(
        self, maps: FineMaps, windows: list[Windows], scores: list[Tensor], settings: MatchSettings
    ) -> list[RawMatches]:
        """Run the fine stage and lay the rows of each pair out, image0 on the grid first."""
        together = Windows(*(torch.cat(parts) for parts in zip(*windows, strict=True)))
        offsets0, offsets1 = self.fine.refine(maps, together, settings.one_way)
        high0, high1 = _last_pixel(maps.fine0), _last_pixel(maps.fine1)
        targets0 = torch.minimum((together.points0 + offsets0).clamp(min=0), high0).split(maps.counts)
        targets1 = torch.minimum((together.points1 + offsets1).clamp(min=0), high1).split(maps.counts)
        results = []
        for own, target0, target1, confidence in zip(windows, targets0, targets1, scores, strict=True):
            reference = torch.zeros(len(confidence), dtype=torch.uint8, device=confidence.device)
            matches = RawMatches(own.points0, target1, confidence, reference)
            if not settings.one_way:
                swapped = RawMatches(target0, own.points1, confidence, reference + 1)
                matches = RawMatches(*(torch.cat(parts) for parts in zip(matches, swapped, strict=True)))
            results.append(matches)
        return results


def _rows(aggregated: Aggregated, maps: Tensor, index: int, cells: Tensor) -> Tensor:
    """The features (M, C) of one pair's cells; none where the pair ended early."""
    if index not in aggregated.pairs:
        return maps.new_zeros(0, maps.shape[1])
    place = aggregated.pairs.index(index)
    return to_tokens(maps[place : place + 1])[0, cells]


def _grid(features: Features) -> tuple[int, int]:
    return features.coarse8.shape[2], features.coarse8.shape[3]


def _known(intrinsics: Tensor | None, index: int) -> Tensor | None:
    if intrinsics is None or not bool(torch.isfinite(intrinsics[index]).all()):
        return None
    return intrinsics[index]


def _last_pixel(fine: Tensor) -> Tensor:
    """x, y of the bottom-right pixel's centre in the matched images that F2 (B, C, H/2, W/2) stands for."""
    return torch.tensor([fine.shape[3] * 2 - 1, fine.shape[2] * 2 - 1], dtype=torch.float32, device=fine.device)
