"""What the model does in matching one pair, kept by hooks: nothing here computes a result a second way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from astr_cli.model.aggregation import Aggregated, Attend
from astr_cli.model.astr import Astr, MatchSettings
from astr_cli.model.backbone import Features
from astr_cli.model.coarse import CoarseMatches, Fate, cell_fates, coarse_matches
from astr_cli.model.config import AstrConfig
from astr_cli.model.fine import Refined, Windows
from astr_cli.ops.matching import BestMatches


class Attention(NamedTuple):
    """One cross attention of image0's cells to image1's."""

    attend: Attend
    query: Tensor  # (1, heads, N0, D)
    key: Tensor  # (1, heads, N1, D)
    mask: Tensor | None  # (1, N1) of image1's cells

    @torch.inference_mode()
    def weights(self, cells: Tensor) -> Tensor:
        """Share of each cell of image1 in the messages to `cells` (M,) of image0, the mean of all heads: (M, N1).

        The layer's own attention, with values that tell the keys apart.
        """
        attend = self.attend
        if isinstance(attend, partial):  # spots: a row of windows per query
            centres = attend.keywords["centres"][:, cells]
            attend = partial(attend.func, *attend.args, **{**attend.keywords, "centres": centres})
        query = self.query[:, :, cells].contiguous()
        keys, width = self.key.shape[2:]
        parts = []
        for start in range(0, keys, width):
            count = min(width, keys - start)
            value = torch.zeros_like(self.key)
            rows = torch.arange(count, device=value.device)
            value[:, :, start + rows, rows] = 1
            parts.append(attend(query, self.key, value, self.mask)[0, :, :, :count])
        return torch.cat(parts, dim=2).float().mean(dim=0)


@dataclass
class Kept:
    """What the model did with one pair; complete when the pair is matched."""

    config: AstrConfig
    settings: MatchSettings
    features: list[Features] = field(default_factory=list)
    """Of image0 and of image1."""
    plain: list[Attention] = field(default_factory=list)
    """The first layer at 1/8: one."""
    spots: list[Attention] = field(default_factory=list)
    """The layer at 1/8 of each round."""
    aggregated: list[Aggregated] = field(default_factory=list)
    """One, with its rounds."""
    windows: list[Windows] = field(default_factory=list)
    """Of the fine stage, block by block; the last block is padded with copies of its last row."""
    refined: list[Refined] = field(default_factory=list)

    @property
    def grids(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(height, width) of both images in cells."""
        shapes = [features.coarse8.shape[2:] for features in self.features]
        return (shapes[0][0], shapes[0][1]), (shapes[1][0], shapes[1][1])

    @property
    def best(self) -> tuple[BestMatches, BestMatches]:
        """Best partners of the cells of image0, (N0,), and of image1."""
        best0, best1 = self.aggregated[0].matching.best()
        return BestMatches(best0.cells[0], best0.log_p[0]), BestMatches(best1.cells[0], best1.log_p[0])

    @property
    def fates(self) -> Tensor:
        """(N0,) the `Fate` of each cell of image0; masks count as far as the model knows them, by cells."""
        fates = cell_fates(*self.best, *self.grids, self.settings.threshold, self.config.border)
        mask = self.features[0].mask8
        return fates if mask is None else fates.masked_fill(~mask.flatten(), Fate.MASKED)

    @property
    def coarse(self) -> CoarseMatches:
        """The coarse matches, in the order of `rows`."""
        limit = self.settings.max_matches
        return coarse_matches(*self.best, *self.grids, self.settings.threshold, self.config.border, limit)

    def rows(self, parts: Callable[[Windows, Refined], Tensor]) -> Tensor:
        """A tensor of the fine stage, one row per coarse match, without the padding."""
        blocks = [parts(windows, refined) for windows, refined in zip(self.windows, self.refined, strict=True)]
        return torch.cat(blocks)[: len(self.coarse.scores)]


@contextmanager
def watched(model: Astr, settings: MatchSettings) -> Iterator[Kept]:
    """Keeps what the model does with the one pair that it matches in the block; its results stay the same, but no pair
    ends early."""
    kept = Kept(model.config, settings)

    def before_aggregation(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kept.features += args[:2]
        return args, {**kwargs, "keep_rounds": True, "adaptive": False}

    def before_fine(_: Any, args: tuple[Any, ...]) -> None:
        kept.windows.append(args[1])

    layers = model.aggregation
    handles = [
        layers.register_forward_pre_hook(before_aggregation, with_kwargs=True),
        layers.register_forward_hook(lambda _, args, found: kept.aggregated.append(found)),
        layers.first8.register_forward_pre_hook(partial(_listen, kept.plain)),
        *(layer.register_forward_pre_hook(partial(_listen, kept.spots)) for layer in layers.spot8),
        model.fine.register_forward_pre_hook(before_fine),
        model.fine.register_forward_hook(lambda _, args, found: kept.refined.append(found)),
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _listen(kept: list[Attention], _: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Puts an attention that keeps its inputs in the place of the one from image0 to image1."""
    *maps, attend0, attend1 = args

    def listening(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        kept.append(Attention(attend0, query, key, mask))
        message: Tensor = attend0(query, key, value, mask)
        return message

    return *maps, listening, attend1
