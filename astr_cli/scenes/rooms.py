"""Rooms: a box seen from inside with desks, clutter, shelves, posters and a pillar in it. Units are about metres."""

import math

import torch
from torch import Tensor

from astr_cli.scenes.box_building import Rhythm, Solid, covered_skin, either, photo_skin, solid, window_grid
from astr_cli.scenes.box_scenes import BoxLayout, Lens, render_boxes
from astr_cli.scenes.box_views import Proposal
from astr_cli.scenes.faces import Skin
from astr_cli.scenes.geometry import ScenePair, chance, uniform
from astr_cli.scenes.tiles import Palette

DESKS, CLUTTER, SHELVES, POSTERS = 4, 8, 2, 3
MAX_ORBIT = math.radians(60)
NEAREST_LOOK = 0.5  # between a camera and its target


def render_rooms(
    photos: Tensor, size: tuple[int, int], generator: torch.Generator, difficulty: float = 1.0, hard: bool = False
) -> ScenePair:
    """B rooms with P photos each (B, P, h, w) on walls and furniture, as pairs of `size` (H, W); every depth is known.

    `difficulty` from 0 to 1 is how far apart the two views are: at 1 up to 60 degrees and a scale ratio of 4; `hard`
    pairs have one of 2 to 4.
    """
    return render_boxes(photos, size, generator, difficulty, _furnish, _propose, hard)


def _furnish(count: int, generator: torch.Generator, palette: Palette) -> BoxLayout:
    half = torch.stack(
        (
            uniform(generator, (count,), 1.4, 3.2),
            uniform(generator, (count,), 1.2, 1.6),
            uniform(generator, (count,), 1.4, 3.2),
        ),
        dim=-1,
    )
    desks = [_desk(half, generator, palette) for _ in range(DESKS)]
    clutter = [_clutter(desks[k % DESKS], generator, palette) for k in range(CLUTTER)]
    shelves = [_at_wall(half, generator, palette, poster=False) for _ in range(SHELVES)]
    posters = [_at_wall(half, generator, palette, poster=True) for _ in range(POSTERS)]
    solids = [_shell(half, generator, palette), *desks, *clutter, *shelves, *posters, _pillar(half, generator, palette)]
    return BoxLayout(solids, half, True)


def _shell(half: Tensor, generator: torch.Generator, palette: Palette) -> Solid:
    """The room itself: walls alike or with a photo, a floor, a ceiling, now and then windows."""
    count = len(half)
    is_photo = chance(generator, (count,), 0.3)
    walls = either(
        photo_skin(count, generator, palette, (1.5, 4.0)),
        covered_skin(count, generator, palette.wall, (0.6, 2.5)),
        is_photo,
    )
    ground = covered_skin(count, generator, palette.floor, (0.8, 2.5))
    above = covered_skin(count, generator, palette.wall, (1.0, 3.0))
    skin = Skin(
        *(
            torch.cat((wall[:, :2], top[:, 2:3], floor[:, 3:4], wall[:, 4:]), dim=1)
            for wall, top, floor in zip(walls, above, ground, strict=True)
        )
    )
    rhythm = Rhythm(
        uniform(generator, (count,), 0.7, 2.0),
        uniform(generator, (count,), 1.0, 1.6),
        uniform(generator, (count,), 0.4, 0.8),
        uniform(generator, (count,), 0.5, 0.85),
        uniform(generator, (count,), 0.02, 0.25),
    )
    free = uniform(generator, (count,), 0.3, 1.0)
    grid = window_grid(generator, palette, half, rhythm, free, 0.3 * free)
    windows = chance(generator, (count,), 0.4).float()
    grid = grid._replace(rows=grid.rows * windows[:, None])
    zero = torch.zeros(count, device=half.device)
    return solid(generator, (zero, half[:, 0]), (zero, half[:, 1]), (zero, half[:, 2]), skin, grid)


def _furniture_skin(count: int, generator: torch.Generator, palette: Palette) -> Skin:
    return either(
        photo_skin(count, generator, palette, (0.5, 1.5)),
        covered_skin(count, generator, palette.floor, (0.3, 1.2)),
        chance(generator, (count,), 0.6),
    )


def _desk(half: Tensor, generator: torch.Generator, palette: Palette) -> Solid:
    """A block on the floor, straight or askew, some with drawers."""
    count = len(half)
    draw = uniform(generator, (8, count))
    size_x, size_y, size_z = 0.3 + 0.6 * draw[0], 0.2 + 0.25 * draw[1], 0.25 + 0.3 * draw[2]
    x, z = (1.5 * draw[3] - 0.75) * half[:, 0], (1.5 * draw[4] - 0.75) * half[:, 2]
    straight = (draw[5] * 2).floor() * math.pi / 2
    angle = torch.where(draw[6] < 0.5, straight, draw[7] * 2 * math.pi)
    rhythm = Rhythm(
        uniform(generator, (count,), 0.25, 0.6),
        uniform(generator, (count,), 0.15, 0.3),
        uniform(generator, (count,), 0.6, 0.95),
        uniform(generator, (count,), 0.6, 0.95),
        uniform(generator, (count,), 0.0, 0.2),
    )
    size = torch.stack((size_x, size_y, size_z), dim=-1)
    grid = window_grid(generator, palette, size, rhythm, 0 * size_x, 0 * size_x)
    grid = grid._replace(rows=grid.rows * chance(generator, (count, 1), 0.4))
    y = (half[:, 1] - size_y, size_y)
    return solid(generator, (x, size_x), y, (z, size_z), _furniture_skin(count, generator, palette), grid, angle)


def _clutter(desk: Solid, generator: torch.Generator, palette: Palette) -> Solid:
    """A box, a book or a screen on a desk."""
    count = len(desk.centre)
    draw = uniform(generator, (7, count))
    size_x, size_y = 0.05 + 0.22 * draw[0] ** 2, 0.03 + 0.2 * draw[1]
    size_z = torch.where(draw[2] < 0.4, torch.full_like(size_x, 0.015), 0.04 + 0.16 * draw[3])
    along, across = (1.6 * draw[4] - 0.8) * desk.half[:, 0], (1.6 * draw[5] - 0.8) * desk.half[:, 2]
    turn = torch.zeros_like(size_x) if desk.angle is None else desk.angle
    cos, sin = turn.cos(), turn.sin()
    x, z = desk.centre[:, 0] + cos * along - sin * across, desk.centre[:, 2] + sin * along + cos * across
    y = desk.centre[:, 1] - desk.half[:, 1] - size_y
    skin = either(
        photo_skin(count, generator, palette, (0.2, 0.6)),
        covered_skin(count, generator, palette.wall, (0.2, 0.6)),
        chance(generator, (count,), 0.75),
    )
    angle = turn + uniform(generator, (count,), -0.6, 0.6)
    return solid(generator, (x, size_x), (y, size_y), (z, size_z), skin, angle=angle)


def _at_wall(half: Tensor, generator: torch.Generator, palette: Palette, poster: bool) -> Solid:
    """A poster on a wall, or shelves before it."""
    count = len(half)
    draw = uniform(generator, (7, count))
    wide = 0.25 + 0.6 * draw[0]
    high = 0.25 + 0.4 * draw[1] if poster else 0.6 + 0.5 * draw[1]
    thick = torch.full_like(wide, 0.012) if poster else 0.12 + 0.15 * draw[2]
    on_x, end = draw[3] < 0.5, 2 * (draw[4] < 0.5).float() - 1
    walls, across = torch.where(on_x, half[:, 0], half[:, 2]), torch.where(on_x, half[:, 2], half[:, 0])
    off, along = end * (walls - thick), (2 * draw[5] - 1) * (across - wide).clamp(min=0.1)
    y = (draw[6] - 0.6) * (half[:, 1] - high) if poster else half[:, 1] - high
    x = torch.where(on_x, off, along), torch.where(on_x, thick, wide)
    z = torch.where(on_x, along, off), torch.where(on_x, wide, thick)
    skin = photo_skin(count, generator, palette, (0.8, 1.8)) if poster else _furniture_skin(count, generator, palette)
    size = torch.stack((x[1], high, z[1]), dim=-1)
    rhythm = Rhythm(
        uniform(generator, (count,), 0.2, 0.5),
        uniform(generator, (count,), 0.25, 0.4),
        uniform(generator, (count,), 0.8, 0.94),
        uniform(generator, (count,), 0.8, 0.92),
        uniform(generator, (count,), 0.5, 0.9) * thick * 2,
    )
    grid = None if poster else window_grid(generator, palette, size, rhythm, 0 * wide, 0 * wide)
    return solid(generator, x, (y, high), z, skin, grid)


def _pillar(half: Tensor, generator: torch.Generator, palette: Palette) -> Solid:
    """From floor to ceiling, in half of the rooms."""
    count = len(half)
    draw = uniform(generator, (3, count))
    wide, x, z = 0.06 + 0.15 * draw[0], (draw[1] - 0.5) * half[:, 0], (draw[2] - 0.5) * half[:, 2]
    skin = covered_skin(count, generator, palette.wall, (0.4, 1.2))
    present = chance(generator, (count,), 0.5)
    return solid(generator, (x, wide), (0 * x, half[:, 1]), (z, wide), skin, present=present)


def _propose(layout: BoxLayout, lens: Lens, generator: torch.Generator, difficulty: float) -> Proposal:
    """A camera that moves around its target, closer by the target ratio, within the walls."""
    shape = tuple(lens.focal0.shape)
    device = layout.half.device
    half = layout.half[:, None]
    position0 = uniform(generator, (*shape, 3), -1.0, 1.0) * half * 0.88
    position0[..., 1] = half[..., 1] * uniform(generator, shape, -0.7, 0.35)
    target0 = uniform(generator, (*shape, 3), -0.95, 0.95) * half
    target0[..., 1] = half[..., 1] * uniform(generator, shape, -0.35, 0.95)
    things = torch.stack([item.centre for item in layout.solids[1:-1]], dim=1)
    chosen = torch.randint(things.shape[1], shape, generator=generator, device=device)[..., None].expand(-1, -1, 3)
    target0 = torch.where(chance(generator, (*shape, 1), 0.75), things.gather(1, chosen), target0)
    apart = position0 - target0
    distance = apart.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    position0 = target0 + apart * (distance.clamp(min=NEAREST_LOOK) / distance)

    orbit = uniform(generator, shape, -MAX_ORBIT, MAX_ORBIT) * uniform(generator, shape) * (0.3 + 0.7 * difficulty)
    cos, sin = orbit.cos(), orbit.sin()
    x, y, z = (position0 - target0).unbind(-1)
    lift = uniform(generator, shape, -0.4, 0.4) * difficulty
    turned = torch.stack((cos * x + sin * z, y + lift, cos * z - sin * x), dim=-1)
    closer = torch.exp(-lens.log_ratio) * lens.focal1 / lens.focal0
    turned = turned * closer[..., None]
    length = turned.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    position1 = target0 + turned * (length.clamp(min=NEAREST_LOOK) / length)
    position1 = torch.maximum(torch.minimum(position1, 0.92 * half), -0.92 * half)
    position0 = torch.maximum(torch.minimum(position0, 0.92 * half), -0.92 * half)
    jitter = torch.randn((*shape, 3), generator=generator, device=device) * 0.25 * length
    return Proposal(position0, target0, position1, target0 + jitter * (0.4 + difficulty))
