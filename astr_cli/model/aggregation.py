"""The spot-guided aggregation module (paper section 3.2, figure 2; docs/model.md, Aggregation): two levels of cross
attention that exchange their features."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from astr_cli.model import early
from astr_cli.model.backbone import Features
from astr_cli.model.config import AstrConfig
from astr_cli.model.going import Going, Maps, Masks
from astr_cli.model.layers import (
    MapNorm,
    apply_mask,
    both,
    full_attention,
    join_heads,
    linear_attention,
    split_heads,
    to_map,
    to_tokens,
)
from astr_cli.model.positions import positional_encoding
from astr_cli.model.spots import select_spots
from astr_cli.ops.attention import spot_attention
from astr_cli.ops.matching import DualSoftmax, dual_softmax

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


class SpotRound(NamedTuple):
    """The matching matrix and windows of one spot-guided round; the trainer supervises and logs them."""

    matching: DualSoftmax  # the round's matching matrix P_s
    centres0: Tensor  # (B, N0, 1 + k) window centres in image1 for the cells of image0, -1 = none
    centres1: Tensor  # (B, N1, 1 + k) the same with the roles swapped
    seeds0: Tensor  # (B, N0, k) the cells of image0 whose best matches the last k centres are


class Aggregated(NamedTuple):
    """Both images' coarse features after aggregation, and how they match: of the B pairs that did not end early."""

    coarse0: Tensor  # (B, C, H0/8, W0/8)
    coarse1: Tensor  # (B, C, H1/8, W1/8)
    matching: DualSoftmax  # the final matching matrix P_c
    rounds: tuple[SpotRound, ...]  # empty unless asked for, and where there are no spots
    pairs: tuple[int, ...]  # their places in the batch; where none is left, `matching` is empty


class CrossLayer(nn.Module):
    """Cross attention of two maps, both updated from their old values; a 3x3 convolution in place of self attention
    and MLP (supplement 2.2)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(channels, 3 * channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.norm_message = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.norm = MapNorm(channels)

    def forward(
        self, x0: Tensor, x1: Tensor, mask0: Tensor | None, mask1: Tensor | None, attend0: Attend, attend1: Attend
    ) -> tuple[Tensor, Tensor]:
        """Maps (B, C, H, W) and masks (B, H, W) in, updated maps out; `attend0` serves the queries of image0."""
        qkv0, qkv1 = both(lambda x: self.project(to_tokens(x)), (x0,), (x1,))
        q0, k0, v0 = (split_heads(part, self.heads) for part in qkv0.chunk(3, dim=2))
        q1, k1, v1 = (split_heads(part, self.heads) for part in qkv1.chunk(3, dim=2))
        keys0 = None if mask0 is None else mask0.flatten(1)
        keys1 = None if mask1 is None else mask1.flatten(1)
        message0 = join_heads(attend0(q0, k1, v1, keys1))
        message1 = join_heads(attend1(q1, k0, v0, keys0))
        y0, y1 = both(self.update, (x0, message0), (x1, message1))
        return x0 + apply_mask(y0, mask0), x1 + apply_mask(y1, mask1)

    def update(self, x: Tensor, message: Tensor) -> Tensor:
        """The change of x (B, C, H, W) by the attended message (B, N, C)."""
        merged = to_map(self.norm_message(self.merge(message)), (x.shape[2], x.shape[3]))
        return self.norm(self.conv(torch.cat([x, merged.to(x.dtype)], dim=1)))


class Fuse(nn.Module):
    """Adds one level's map to the other's: bilinear x4 upwards, 4x4 average downwards, then a 3x3 convolution."""

    def __init__(self, channels: int, upwards: bool) -> None:
        super().__init__()
        self.upwards = upwards
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None) -> Tensor:
        other = self.project(other)
        if self.upwards:
            other = F.interpolate(other, scale_factor=4, mode="bilinear", align_corners=False)
        else:
            other = F.avg_pool2d(other, 4)
        return apply_mask(self.conv(apply_mask(x + other, mask)), mask)


class Aggregation(nn.Module):
    """One plain round, then `rounds` of exchange, full attention at 1/32 and spot-guided attention at 1/8."""

    def __init__(self, config: AstrConfig) -> None:
        super().__init__()
        self.config = config
        c, heads = config.channels, config.heads
        # NOTE the paper's rounds share no weights (docs/model.md, Presets).
        sets = 1 if config.shared_rounds else config.rounds
        self.first32 = CrossLayer(c, heads)
        self.first8 = CrossLayer(c, heads)
        self.cross32 = nn.ModuleList(CrossLayer(c, heads) for _ in range(sets))
        self.spot8 = nn.ModuleList(CrossLayer(c, heads) for _ in range(sets))
        self.up = nn.ModuleList(Fuse(c, upwards=True) for _ in range(sets))
        self.down = nn.ModuleList(Fuse(c, upwards=False) for _ in range(sets))
        self.last_up = Fuse(c, upwards=True)
        start = torch.tensor(config.temperature).log()
        self.log_temperature = nn.Parameter(start.repeat(config.rounds + 1))

    def forward(
        self, features0: Features, features1: Features, keep_rounds: bool = False, adaptive: bool = False
    ) -> Aggregated:
        """Features of B pairs in, `Aggregated` out; `keep_rounds` keeps each round's matrix and spots.

        adaptive: pairs whose photos seem not to overlap end in the first round, before its matching matrix. Pairs
        whose matches have settled keep their spots, without matching matrices in the rounds left.
        """
        return self.aggregated(features0, features1, keep_rounds, adaptive)

    def aggregated(self, features0: Features, features1: Features, keep_rounds: bool, adaptive: bool) -> Aggregated:
        """What `forward` returns. Whoever watches or times that one does not see small copies pass here."""
        maps = self.first(features0, features1)
        going = Going(len(maps.high0))
        kept: list[SpotRound] = []
        for index in range(self.config.rounds):
            # NOTE the paper's rounds share no weights (docs/model.md, Presets).
            weights = 0 if self.config.shared_rounds else index
            maps = self.exchange(maps, weights)
            if not self.config.spot_guided:
                maps = self.attend(maps, weights, linear_attention, linear_attention)
                continue
            if adaptive and index == 0:
                pooled = self.pooled_matching(maps)
                doubtful = early.doubtful(pooled, *maps.pooled_grids)
                maps = maps.of(going.drop(self.ended(features0, features1, doubtful)))
                if not going.pairs:
                    return Aggregated(maps.high0, maps.high1, pooled.of([]), (), ())
            if going.searching:
                part = maps.of(going.searching)
                matching = self.matching(part.high0, part.high1, *part.m8, index)
                spots = self.spots(matching, part.high0, part.high1, *part.m8)
                settled: list[int] = []
                if adaptive:
                    settled, going.counts = early.settled(spots.matching, *maps.grids, going.counts)
                going.look(spots.centres0, spots.centres1, settled)
                if keep_rounds:
                    kept.append(spots)
            centres0, centres1 = going.centres
            attend0, attend1 = self.spot_attend(centres0, maps.high1), self.spot_attend(centres1, maps.high0)
            maps = self.attend(maps, weights, attend0, attend1)
        high0, high1 = self.fuse(self.last_up, (maps.high0, maps.high1), (maps.low0, maps.low1), maps.m8)
        matching = self.matching(high0, high1, *maps.m8, self.config.rounds)
        return Aggregated(high0, high1, matching, tuple(kept), tuple(going.pairs))

    def first(self, features0: Features, features1: Features) -> Maps:
        """Both levels after the positional encoding and the plain layers."""
        low0, high0 = self.encode(features0)
        low1, high1 = self.encode(features1)
        m8 = (features0.mask8, features1.mask8)
        m32 = (_shrink(features0.mask8, 4), _shrink(features1.mask8, 4))
        low0, low1 = self.first32(low0, low1, *m32, full_attention, full_attention)
        high0, high1 = self.first8(high0, high1, *m8, linear_attention, linear_attention)
        return Maps(high0, high1, low0, low1, m8, m32)

    def exchange(self, maps: Maps, weights: int) -> Maps:
        """What a round does before its spots: both levels exchange their features, and 1/32 attends."""
        # Both directions start from the values before the exchange (figure 2).
        high, low = (maps.high0, maps.high1), (maps.low0, maps.low1)
        high0, high1 = self.fuse(self.up[weights], high, low, maps.m8)
        low0, low1 = self.fuse(self.down[weights], low, high, maps.m32)
        low0, low1 = self.cross32[weights](low0, low1, *maps.m32, full_attention, full_attention)
        return maps._replace(high0=high0, high1=high1, low0=low0, low1=low1)

    def attend(self, maps: Maps, weights: int, attend0: Attend, attend1: Attend) -> Maps:
        """The layer at 1/8 of a round."""
        high0, high1 = self.spot8[weights](maps.high0, maps.high1, *maps.m8, attend0, attend1)
        return maps._replace(high0=high0, high1=high1)

    def encode(self, features: Features) -> tuple[Tensor, Tensor]:
        """Add the positional encoding to F32 and F8, once."""
        encoded = []
        for x, stride, mask in (
            (features.coarse32, 32, _shrink(features.mask8, 4)),
            (features.coarse8, 8, features.mask8),
        ):
            grid = (x.shape[2], x.shape[3])
            position = positional_encoding(x.shape[1], grid, stride, self.config.train_side, x.device, x.dtype)
            encoded.append(apply_mask(x + position, mask))
        return encoded[0], encoded[1]

    def fuse(
        self,
        layer: nn.Module,
        maps: tuple[Tensor, Tensor],
        others: tuple[Tensor, Tensor],
        masks: Masks,
    ) -> tuple[Tensor, Tensor]:
        """Run one `Fuse` on both images."""
        if masks[0] is None and masks[1] is None:
            return both(lambda x, other: layer(x, other, None), (maps[0], others[0]), (maps[1], others[1]))
        return layer(maps[0], others[0], masks[0]), layer(maps[1], others[1], masks[1])

    def matching(self, x0: Tensor, x1: Tensor, mask0: Tensor | None, mask1: Tensor | None, index: int) -> DualSoftmax:
        """Matching matrix `index`: dual softmax of f.f / (C T), T learned (docs/model.md, Temperatures)."""
        scale = (-self.log_temperature[index]).exp() / x0.shape[1]
        flat0 = None if mask0 is None else mask0.flatten(1)
        flat1 = None if mask1 is None else mask1.flatten(1)
        return dual_softmax(to_tokens(x0), to_tokens(x1), scale, flat0, flat1)

    def pooled_matching(self, maps: Maps) -> DualSoftmax:
        """The matching matrix of the first round, of means of 2x2 cells, at a sixteenth of its cost."""
        mask0, mask1 = maps.m8
        pooled0, pooled1 = F.avg_pool2d(maps.high0, 2), F.avg_pool2d(maps.high1, 2)
        return self.matching(pooled0, pooled1, _shrink(mask0, 2), _shrink(mask1, 2), 0)

    def ended(self, features0: Features, features1: Features, doubtful: early.Doubtful) -> list[int]:
        """The places of the doubtful pairs that end, after a look at their small copies."""
        small0, small1 = features0.small, features1.small
        if not doubtful.places or small0 is None or small1 is None:
            return []
        copies = self.aggregated(small0.of(doubtful.places), small1.of(doubtful.places), False, False)
        return early.ended(doubtful, copies.matching)

    def spots(
        self, matching: DualSoftmax, x0: Tensor, x1: Tensor, mask0: Tensor | None, mask1: Tensor | None
    ) -> SpotRound:
        """Spots of both directions from the matching matrix of a round."""
        best0, best1 = matching.best()
        window, top_k = self.config.window, self.config.top_k
        spots0 = select_spots(best0, x0, window, top_k, mask0)
        spots1 = select_spots(best1, x1, window, top_k, mask1)
        return SpotRound(matching, spots0.centres, spots1.centres, spots0.seeds)

    def spot_attend(self, centres: Tensor, keys: Tensor) -> Attend:
        """Attention restricted to the windows around `centres` of the image whose map is `keys`."""
        grid = (keys.shape[2], keys.shape[3])
        return partial(_spot_attend, centres=centres, grid=grid, window=self.config.window)


def _spot_attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, centres: Tensor, grid: tuple[int, int], window: int
) -> Tensor:
    return spot_attention(query, key, value, centres, grid, window, mask)


def _shrink(mask: Tensor | None, times: int) -> Tensor | None:
    """Mask (B, H, W) of a level whose cells are larger: valid as soon as one of the old cells is."""
    return None if mask is None else F.max_pool2d(mask.float()[:, None], times)[:, 0] > 0
