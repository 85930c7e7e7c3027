"""Drawing boxes and their faces, from which every kind of scene is built."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.boxes import Boxes, yaw
from astr_cli.scenes.faces import Grid, Skin
from astr_cli.scenes.geometry import chance, uniform
from astr_cli.scenes.tiles import Palette

ABSENT = 1e4  # world units: the position of boxes that a scene does not use


class Solid(NamedTuple):
    """One box of every scene."""

    centre: Tensor  # (B, 3)
    half: Tensor  # (B, 3)
    angle: Tensor | None  # (B,) about the vertical
    skin: Skin  # (B, 6) fields
    grid: Grid  # (B, 6) fields


def solid(
    generator: torch.Generator,
    x: tuple[Tensor, Tensor],
    y: tuple[Tensor, Tensor],
    z: tuple[Tensor, Tensor],
    skin: Skin,
    grid: Grid | None = None,
    angle: Tensor | None = None,
    present: Tensor | None = None,
) -> Solid:
    """A box from its (middle, half side) along each axis, (B,) each; out of sight where it is not `present`."""
    middles, halves = zip(x, y, z, strict=True)
    centre, half = torch.stack(middles, dim=-1), torch.stack(halves, dim=-1).clamp(min=0.005)
    if present is not None:
        centre = centre + (~present).float()[:, None] * ABSENT
    return Solid(centre, half, angle, skin, no_grid(len(centre), generator.device) if grid is None else grid)


def assemble(
    solids: list[Solid], sun: Tensor, ambient: Tensor, room: bool, device: torch.device
) -> tuple[Boxes, Skin, Grid]:
    """All boxes of all scenes on `device`, lit from the direction `sun` (B, 3) over `ambient` (B,) light."""
    straight = torch.zeros_like(ambient)
    turn = yaw(torch.stack([straight if item.angle is None else item.angle for item in solids], dim=1))
    centre, half = (
        torch.stack(part, dim=1) for part in ([item.centre for item in solids], [item.half for item in solids])
    )
    skin = Skin(*(torch.cat(fields, dim=1) for fields in zip(*(item.skin for item in solids), strict=True)))
    grid = Grid(*(torch.cat(fields, dim=1) for fields in zip(*(item.grid for item in solids), strict=True)))
    facing = (turn @ sun[:, None, :, None])[..., 0]  # (B, K, 3): cosine at the positive end of each axis
    facing = torch.stack((-facing, facing), dim=-1)
    if room:
        facing[:, 0] *= -1
    lit = ambient[:, None] + (1.25 - ambient[:, None]) * facing.clamp(min=0).flatten(1)
    skin = skin._replace(light=skin.light * lit)
    turned = tuple(item.angle is not None for item in solids)
    return (
        Boxes(centre.to(device), turn.to(device), half.to(device), turned, room),
        Skin(*(field.to(device) for field in skin)),
        Grid(*(field.to(device) for field in grid)),
    )


def sunlight(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A direction to the light (count, 3), from above, and how bright it is away from it (count,)."""
    angle = uniform(generator, (count,), -math.pi, math.pi)
    height = uniform(generator, (count,), 0.3, 1.2)
    across = height.cos()
    sun = torch.stack((across * angle.sin(), -height.sin(), -across * angle.cos()), dim=-1)
    return sun, uniform(generator, (count,), 0.4, 0.95)


def photo_skin(count: int, generator: torch.Generator, palette: Palette, spans: tuple[float, float]) -> Skin:
    """A photo over a box, another place of it on each face; one tile spans `spans` world units, then is mirrored."""
    tile = (uniform(generator, (count, 1)) * palette.photos).floor()
    return _skin(count, generator, tile, spans, uniform(generator, (count, 1), 0.4, 0.6), contrast=(0.8, 1.2))


def covered_skin(count: int, generator: torch.Generator, tile: int, spans: tuple[float, float]) -> Skin:
    """Bricks, slabs, boards or plaster over a box, of any grey, faint or strong."""
    base = uniform(generator, (count, 1), 0.3, 0.85)
    return _skin(count, generator, torch.full((count, 1), float(tile), device=base.device), spans, base, (0.15, 0.8))


def either(first: Skin, second: Skin, choose_first: Tensor) -> Skin:
    """For each scene one of two skins."""
    return Skin(*(torch.where(choose_first[:, None], a, b) for a, b in zip(first, second, strict=True)))


def _skin(
    count: int,
    generator: torch.Generator,
    tile: Tensor,
    spans: tuple[float, float],
    base: Tensor,
    contrast: tuple[float, float],
) -> Skin:
    scale = torch.exp(uniform(generator, (count, 1), math.log(spans[0]), math.log(spans[1])))
    fields = (
        tile,
        scale,
        uniform(generator, (count, 6), 0.0, 7.0),
        uniform(generator, (count, 6), 0.0, 7.0),
        base,
        uniform(generator, (count, 1), *contrast),
        uniform(generator, (count, 6), 0.92, 1.08),
        uniform(generator, (count, 1), 0.2, 0.9),
        uniform(generator, (count, 1), 0.15, 0.8),
    )
    return Skin(*(field.expand(count, 6) for field in fields))


def no_grid(count: int, device: torch.device) -> Grid:
    """Faces without holes."""
    zero, one = torch.zeros(count, 6, device=device), torch.ones(count, 6, device=device)
    return Grid(*(one if name in ("cell_p", "cell_q", "half_p", "half_q") else zero for name in Grid._fields))


class Rhythm(NamedTuple):
    """How the windows of a building, or the holes of a shelf, repeat: (B,) each."""

    cell_p: Tensor
    cell_q: Tensor
    share_p: Tensor  # of the cell that the hole takes
    share_q: Tensor
    recess: Tensor


def window_grid(
    generator: torch.Generator, palette: Palette, half: Tensor, rhythm: Rhythm, foot: Tensor, head: Tensor
) -> Grid:
    """Holes on the four upright faces of a box of half sides (B, 3), all equal, in whole columns and rows.

    `foot` and `head` (B,) are left free below and above, world units.
    """
    count, device = len(half), half.device
    zero = torch.zeros(count, device=device)
    along = (half[:, 2], zero, half[:, 0])  # axis 0, 1, 2
    columns = torch.stack([(1.96 * width / rhythm.cell_p).floor() for width in along], dim=1)
    rows = ((2 * half[:, 1] - foot - head) / rhythm.cell_q).floor().clamp(min=0)
    photo = (uniform(generator, (count,)) * palette.photos).floor()
    is_photo = chance(generator, (count,), 0.25)
    pane = torch.where(is_photo, photo, torch.full_like(photo, palette.pane))
    other = torch.where(is_photo, photo, torch.full_like(photo, palette.other_pane))
    alike = chance(generator, (count,), 0.45)  # then all holes look the same
    gaps = chance(generator, (count,), 0.4)
    per_face = {
        "columns": columns * torch.tensor([1.0, 0.0, 1.0], device=device),
        "start_p": -0.5 * columns * rhythm.cell_p[:, None],
    }
    per_box = {
        "cell_p": rhythm.cell_p,
        "cell_q": rhythm.cell_q,
        "start_q": head - half[:, 1],
        "rows": rows,
        "half_p": 0.5 * rhythm.cell_p * rhythm.share_p,
        "half_q": 0.5 * rhythm.cell_q * rhythm.share_q,
        "recess": rhythm.recess,
        "trim": uniform(generator, (count,), 0.0, 0.12) * chance(generator, (count,), 0.6),
        "trim_light": uniform(generator, (count,), 0.7, 1.4),
        "pane": pane,
        "other_pane": other,
        "other_share": uniform(generator, (count,), 0.0, 0.5) * ~alike,
        "missing": uniform(generator, (count,), 0.02, 0.15) * gaps,
        "variation": uniform(generator, (count,), 0.0, 0.6) * ~alike,
    }
    fields = {name: value[:, None].expand(count, 6) for name, value in per_box.items()}
    fields |= {name: value.repeat_interleave(2, dim=1) for name, value in per_face.items()}
    return Grid(**fields)
