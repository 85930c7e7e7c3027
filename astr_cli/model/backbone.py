"""Grey-scale ResNet-FPN down to 1/32 (supplement 2.3; docs/model.md, Backbone): two coarse maps for aggregation, one
fine map."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from astr_cli.model.config import AstrConfig
from astr_cli.model.layers import ConvNorm, apply_mask


class Features(NamedTuple):
    """The features of B images of equal size (H, W)."""

    coarse32: Tensor  # (B, C, H/32, W/32)
    coarse8: Tensor  # (B, C, H/8, W/8)
    fine: Tensor  # (B, fine_map, H/2, W/2)
    mask8: Tensor | None  # (B, H/8, W/8) bool, True = valid; None = all valid
    small: "Features | None" = None  # of small copies of the images, by which pairs may end early

    def split(self, count: int) -> "tuple[Features, Features]":
        """The first `count` images and the others."""
        return self.of(slice(count)), self.of(slice(count, None))

    def of(self, images: list[int] | slice) -> "Features":
        """Those of some of the images."""
        mask8 = None if self.mask8 is None else self.mask8[images]
        small = None if self.small is None else self.small.of(images)
        return Features(self.coarse32[images], self.coarse8[images], self.fine[images], mask8, small)

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        own = [self.coarse32, self.coarse8, self.fine] + ([] if self.mask8 is None else [self.mask8])
        return own if self.small is None else own + self.small.tensors()


class ResidualBlock(nn.Module):
    """Basic block: two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, folded: bool) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride, folded)
        self.second = ConvNorm(outputs, outputs, 3, 1, folded)
        plain = stride == 1 and inputs == outputs
        self.shortcut = None if plain else ConvNorm(inputs, outputs, 1, stride, folded)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # In place wherever nothing else holds the map: the largest maps take most of the memory.
        y = self.second(F.relu(self.first(x, mask), inplace=True), mask)
        y = y.add_(x if self.shortcut is None else self.shortcut(x, mask))
        return F.relu(y, inplace=True)


class Stage(nn.Module):
    """The residual blocks of one resolution; the first one may halve it."""

    def __init__(self, inputs: int, outputs: int, stride: int, blocks: int, folded: bool) -> None:
        super().__init__()
        first = ResidualBlock(inputs, outputs, stride, folded)
        others = (ResidualBlock(outputs, outputs, 1, folded) for _ in range(blocks - 1))
        self.blocks = nn.ModuleList([first, *others])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class Merge(nn.Module):
    """One step of the decoder: the coarser map, doubled, joins the encoder's map of this level."""

    def __init__(self, coarser: int, skip: int, outputs: int, folded: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarser, outputs, 1, bias=False)
        self.lateral = nn.Conv2d(skip, outputs, 1, bias=False)
        self.smooth = ConvNorm(outputs, outputs, 3, 1, folded)
        self.project = nn.Conv2d(outputs, outputs, 1)

    def forward(self, coarser: Tensor, skip: Tensor, mask: Tensor | None) -> Tensor:
        # One name for one map after the other, so that none outlives its use: at half size each is a large one.
        x = F.interpolate(self.reduce(coarser), scale_factor=2, mode="bilinear", align_corners=False)
        x = apply_mask(x.add_(self.lateral(skip)), mask)
        x = F.leaky_relu(self.smooth(x, mask), inplace=True)
        return apply_mask(self.project(x), mask)


class Backbone(nn.Module):
    """Images to `Features`. `folded` builds the form of exported weights, without BatchNorm."""

    def __init__(self, config: AstrConfig, folded: bool = False) -> None:
        super().__init__()
        self.stem = ConvNorm(1, config.stem, 7, 2, folded)
        widths = (config.stem, *config.stages)
        self.stages = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            self.stages.append(Stage(inputs, outputs, 1 if level == 0 else 2, config.blocks, folded))
        c = config.channels
        half, quarter, eighth, sixteenth, _ = config.stages
        self.merge16 = Merge(c, sixteenth, c, folded)
        self.merge8 = Merge(c, eighth, c, folded)
        self.merge4 = Merge(c, quarter, quarter, folded)
        self.merge2 = Merge(quarter, half, config.fine_map, folded)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Features:
        """images (B, 1, H, W) in [0, 1], masks (B, H, W) bool; returns `Features`."""
        # NOTE the paper has no masks: here they hold from the first pixel on (docs/model.md, Masks).
        if masks is not None:
            images = images * masks[:, None]
        levels = mask_pyramid(masks)
        x = images.contiguous(memory_format=torch.channels_last) * 2 - 1
        x = F.relu(self.stem(apply_mask(x, masks), levels[0]), inplace=True)
        skips = []
        for stage, mask in zip(self.stages, levels, strict=True):
            x = stage(x, mask)
            skips.append(x)
        d16 = self.merge16(x, skips[3], levels[3])
        d8 = self.merge8(d16, skips[2], levels[2])
        d4 = self.merge4(d8, skips[1], levels[1])
        d2 = self.merge2(d4, skips[0], levels[0])
        return Features(x, d8, d2, levels[2])


def mask_pyramid(masks: Tensor | None) -> list[Tensor | None]:
    """Masks (B, H, W) bool at 1/2, 1/4, ... 1/32: a cell is valid as soon as one of its pixels is."""
    if masks is None:
        return [None] * 5
    levels: list[Tensor | None] = []
    level = masks.float()[:, None]
    for _ in range(5):
        level = F.max_pool2d(level, 2)
        levels.append(level[:, 0] > 0)
    return levels
