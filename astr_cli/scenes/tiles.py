"""The textures of a scene in one atlas, so that every pixel may take another one in the same look-up."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.patterns import coverings, noise, panes
from astr_cli.scenes.texturing import LEVELS, Pyramid, build_pyramid, look_up

DIRT_SIDE = 64


class Tiles(NamedTuple):
    """T square tiles of each of B scenes, below one another."""

    pyramid: Pyramid  # atlas (B, 1, T * side, 1.5 * side)
    number: int  # T

    def rows(self, index: slice | Tensor) -> "Tiles":
        """The tiles of some of the scenes."""
        return self._replace(pyramid=self.pyramid._replace(atlas=self.pyramid.atlas[index]))


class Palette(NamedTuple):
    """Numbers of a scene's tiles: its photos come first."""

    photos: int  # how many
    wall: int
    floor: int
    pane: int
    other_pane: int
    grain: int


def make_tiles(photos: Tensor, generator: torch.Generator) -> tuple[Tiles, Palette]:
    """Photos (B, P, h, w) and tiles made for each scene, all as squares of the photos' shorter side."""
    count, number = photos.shape[:2]
    unit = 2 ** (LEVELS - 1)
    side = max(unit, min(photos.shape[-2:]) // unit * unit)
    if photos.shape[-2:] != (side, side):
        photos = F.interpolate(photos, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    device = photos.device
    made = (
        coverings(count, side, generator, device),
        coverings(count, side, generator, device),
        panes(count, side, generator, device),
        noise(count, side, generator, device, finest=128, roughness=(0.85, 1.15)),
    )
    stack = torch.cat((photos, *made), dim=1)
    pyramid = build_pyramid(stack.flatten(0, 1)[:, None])
    width = pyramid.atlas.shape[-1]
    tiles = Tiles(pyramid._replace(atlas=pyramid.atlas.view(count, 1, -1, width)), stack.shape[1])
    return tiles, Palette(number, number, number + 1, number + 2, number + 3, number + 4)


def sample_tiles(tiles: Tiles, tile: Tensor, u: Tensor, v: Tensor, covered: Tensor) -> Tensor:
    """(B, N) grey of tile number `tile` at u, v, mirrored beyond [0, 1]; a pixel covers `covered` squared tiles."""
    level = _level(tiles, covered)
    lower = level.floor().clamp(max=LEVELS - 2)
    first = _tile_look_up(tiles, tile, u, v, lower)
    return torch.lerp(first, _tile_look_up(tiles, tile, u, v, lower + 1), level - lower)


def sample_tiles_roughly(tiles: Tiles, tile: Tensor, u: Tensor, v: Tensor, covered: Tensor) -> Tensor:
    """As `sample_tiles`, from the nearest level alone: half the work, for faint textures."""
    return _tile_look_up(tiles, tile, u, v, _level(tiles, covered).round())


def _level(tiles: Tiles, covered: Tensor) -> Tensor:
    side = tiles.pyramid.size[0]
    return (0.5 * torch.log2(covered * (side * side))).clamp(0.0, LEVELS - 1.0)


def _mirrored(along: Tensor) -> Tensor:
    """Periodic in 2: up from 0 to 1, and down again."""
    return 1 - ((along * 0.5).frac().abs() * 2 - 1).abs()


def _tile_look_up(tiles: Tiles, tile: Tensor, u: Tensor, v: Tensor, level: Tensor) -> Tensor:
    x, y = (_mirrored(along) * tiles.pyramid.size[0] for along in (u, v))
    return look_up(tiles.pyramid, x[:, None], y[:, None], level[:, None], tile[:, None], tiles.number)[:, 0, 0]
