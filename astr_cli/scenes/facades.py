"""Facades: a building with repeated windows, ledges, balconies and pilasters, in a street. A storey is about a unit."""

import math

import torch
from torch import Tensor

from astr_cli.scenes.box_building import Rhythm, Solid, covered_skin, either, photo_skin, solid, window_grid
from astr_cli.scenes.box_scenes import BoxLayout, Lens, render_boxes
from astr_cli.scenes.box_views import Proposal
from astr_cli.scenes.faces import Skin
from astr_cli.scenes.geometry import ScenePair, chance, uniform
from astr_cli.scenes.tiles import Palette

BALCONIES, LEDGES, PILASTERS, SIGNS, OBJECTS = 5, 3, 3, 3, 4
MAX_LEAN = math.radians(62)  # between a view and the facade's normal, sideways
GROUND = 25.0  # half side of the ground


def render_facades(
    photos: Tensor, size: tuple[int, int], generator: torch.Generator, difficulty: float = 1.0, hard: bool = False
) -> ScenePair:
    """B buildings with P photos each (B, P, h, w) on signs and surroundings, as pairs of `size` (H, W); sky: depth 0.

    `difficulty` from 0 to 1 is how far apart the two views are: at 1 up to 60 degrees and more and a scale ratio of 4;
    `hard` pairs have one of 2 to 4.
    """
    return render_boxes(photos, size, generator, difficulty, _build, _propose, hard)


def _build(count: int, generator: torch.Generator, palette: Palette) -> BoxLayout:
    """The building's front is z = 0, looking towards -z; the ground is y = 0."""
    rhythm = _rhythm(count, generator)
    columns, storeys = (
        (uniform(generator, (count,), 3.0, 10.0)).floor(),
        (uniform(generator, (count,), 2.0, 6.99)).floor(),
    )
    foot, head = uniform(generator, (count,), 0.1, 0.9), uniform(generator, (count,), 0.1, 0.5)
    half = torch.stack(
        (
            0.5 * columns * rhythm.cell_p + uniform(generator, (count,), 0.02, 0.6),
            0.5 * (storeys * rhythm.cell_q + foot + head) + 0.01,
            uniform(generator, (count,), 1.0, 3.0),
        ),
        dim=-1,
    )
    skin = _wall_skin(count, generator, palette)
    grid = window_grid(generator, palette, half, rhythm, foot, head)
    zero = torch.zeros(count, device=half.device)
    main = solid(generator, (zero, half[:, 0]), (-half[:, 1], half[:, 1]), (half[:, 2], half[:, 2]), skin, grid)
    trim = covered_skin(count, generator, palette.wall, (0.5, 2.0))
    parts = [main, *_ledges(half, rhythm, head, trim, generator), *_pilasters(half, rhythm, trim, generator)]
    parts += _balconies(half, rhythm, foot, generator, palette)
    parts += [_sign(half, generator, palette) for _ in range(SIGNS)]
    parts += [*_neighbours(half, generator, palette), *_street(half, generator, palette)]
    return BoxLayout(parts, half, False)


def _rhythm(count: int, generator: torch.Generator) -> Rhythm:
    recess = uniform(generator, (count,), 0.04, 0.3) * chance(generator, (count,), 0.75)
    return Rhythm(
        uniform(generator, (count,), 0.55, 1.3),
        uniform(generator, (count,), 0.75, 1.3),
        uniform(generator, (count,), 0.3, 0.8),
        uniform(generator, (count,), 0.4, 0.8),
        recess,
    )


def _wall_skin(count: int, generator: torch.Generator, palette: Palette) -> Skin:
    return either(
        photo_skin(count, generator, palette, (1.5, 5.0)),
        covered_skin(count, generator, palette.wall, (0.8, 2.5)),
        chance(generator, (count,), 0.15),
    )


def _ledges(half: Tensor, rhythm: Rhythm, head: Tensor, skin: Skin, generator: torch.Generator) -> list[Solid]:
    """Bands along the front: one under the roof, others between storeys."""
    count = len(half)
    made = []
    for k in range(LEDGES):
        draw = uniform(generator, (4, count))
        thick, out = 0.03 + 0.07 * draw[0], 0.02 + 0.12 * draw[1]
        storey = (draw[2] * 2 * half[:, 1] / rhythm.cell_q).floor().clamp(min=1)
        y = -2 * half[:, 1] + (thick if k == 0 else head + storey * rhythm.cell_q)
        present = (draw[3] < (0.8 if k == 0 else 0.4)) & (y < -thick)
        made.append(
            solid(generator, (0 * y, half[:, 0] + out), (y, thick), (-out + 0.02, out + 0.02), skin, present=present)
        )
    return made


def _pilasters(half: Tensor, rhythm: Rhythm, skin: Skin, generator: torch.Generator) -> list[Solid]:
    """Upright bands between columns of windows, evenly spaced or not."""
    count = len(half)
    draw = uniform(generator, (4, count))
    wide, out = 0.05 + 0.12 * draw[0] * rhythm.cell_p, 0.02 + 0.15 * draw[1]
    every = (1 + 3 * draw[2]).floor() * rhythm.cell_p
    first = (rhythm.cell_p * (draw[3] * half[:, 0] / rhythm.cell_p).floor()) - half[:, 0]
    made = []
    for k in range(PILASTERS):
        x = first + wide + k * every
        present = chance(generator, (count,), 0.5) & (x < half[:, 0] - wide)
        y = (-half[:, 1], half[:, 1] - 0.01)
        made.append(solid(generator, (x, wide), y, (-out + 0.02, out + 0.02), skin, present=present))
    return made


def _balconies(half: Tensor, rhythm: Rhythm, foot: Tensor, generator: torch.Generator, palette: Palette) -> list[Solid]:
    """Equal boxes under windows: along a storey, up a column, or here and there."""
    count = len(half)
    draw = uniform(generator, (5, count))
    columns, storeys = (1.96 * half[:, 0] / rhythm.cell_p).floor(), ((2 * half[:, 1] - foot) / rhythm.cell_q).floor()
    wide = rhythm.cell_p * torch.minimum(0.5 * rhythm.share_p + 0.02 + 0.1 * draw[0], torch.full_like(foot, 0.48))
    high, out = (0.1 + 0.12 * draw[1]) * rhythm.cell_q, 0.08 + 0.2 * draw[2]
    skin = covered_skin(count, generator, palette.floor, (0.3, 1.0))
    scattered, upward, any_at_all = draw[3] < 0.3, draw[4] < 0.4, chance(generator, (count,), 0.6)
    places = uniform(generator, (BALCONIES, 2, count))
    first_column, first_storey = (places[0, 0] * columns).floor(), (places[0, 1] * storeys).floor()
    made = []
    for k in range(BALCONIES):
        along, above = (first_column + k) % columns.clamp(min=1), (first_storey + k) % storeys.clamp(min=1)
        column = torch.where(scattered, (places[k, 0] * columns).floor(), torch.where(upward, first_column, along))
        storey = torch.where(scattered, (places[k, 1] * storeys).floor(), torch.where(upward, above, first_storey))
        x = (column + 0.5 - 0.5 * columns) * rhythm.cell_p
        y = -foot - (storey + 0.1) * rhythm.cell_q
        made.append(solid(generator, (x, wide), (y, high), (-out + 0.01, out), skin, present=any_at_all))
    return made


def _sign(half: Tensor, generator: torch.Generator, palette: Palette) -> Solid:
    """A photo on the front: a poster, a door, a shop's sign."""
    count = len(half)
    draw = uniform(generator, (4, count))
    wide, high = 0.15 + 0.45 * draw[0], 0.15 + 0.45 * draw[1]
    low = draw[2] < 0.6
    x = (2 * draw[3] - 1) * (half[:, 0] - wide).clamp(min=0.05)
    y = torch.where(low, -high, -high - uniform(generator, (count,)) * (2 * half[:, 1] - 2 * high).clamp(min=0))
    thick = torch.full_like(x, 0.02)
    skin = photo_skin(count, generator, palette, (0.8, 1.6))
    return solid(generator, (x, wide), (y, high), (0 * x, thick), skin, present=chance(generator, (count,), 0.7))


def _other_building(
    generator: torch.Generator, palette: Palette, size: Tensor, x: Tensor, z: Tensor, angle: Tensor, present: Tensor
) -> Solid:
    count = len(size)
    rhythm, free = _rhythm(count, generator), uniform(generator, (count,), 0.1, 0.7)
    grid = window_grid(generator, palette, size, rhythm, free, 0.5 * free)
    skin = _wall_skin(count, generator, palette)
    return solid(generator, (x, size[:, 0]), (-size[:, 1], size[:, 1]), (z, size[:, 2]), skin, grid, angle, present)


def _neighbours(half: Tensor, generator: torch.Generator, palette: Palette) -> list[Solid]:
    """A house beside the building, a wing at a right angle to its front, and the far side of a square."""
    count = len(half)
    draw = uniform(generator, (10, count))
    zero = torch.zeros(count, device=half.device)
    side = 2 * (draw[0] < 0.5).float() - 1
    beside = torch.stack((1 + 2 * draw[1], 0.8 + 2.5 * draw[2], 1 + draw[3]), dim=-1)
    gap = draw[4] * (draw[5] < 0.5)
    wing = torch.stack((0.5 + draw[6], 0.8 + 2 * draw[7], 1 + 2 * draw[8]), dim=-1)
    back = torch.stack((zero + GROUND, 2 + 4 * draw[9], zero + 0.1), dim=-1)
    horizon = photo_skin(count, generator, palette, (6.0, 14.0))
    return [
        _other_building(
            generator,
            palette,
            beside,
            side * (half[:, 0] + gap + beside[:, 0]),
            beside[:, 2] + uniform(generator, (count,), -0.6, 0.8),
            zero,
            chance(generator, (count,), 0.7),
        ),
        _other_building(
            generator,
            palette,
            wing,
            -side * (half[:, 0] + wing[:, 0] - 0.3),
            -wing[:, 2],
            uniform(generator, (count,), -0.2, 0.2) * chance(generator, (count,), 0.3),
            chance(generator, (count,), 0.35),
        ),
        solid(generator, (zero, back[:, 0]), (-back[:, 1], back[:, 1]), (zero + 14, back[:, 2]), horizon),
    ]


def _street(half: Tensor, generator: torch.Generator, palette: Palette) -> list[Solid]:
    """The ground, and what stands before the building: kiosks, cars, posts."""
    count = len(half)
    ground = either(
        photo_skin(count, generator, palette, (2.0, 6.0)),
        covered_skin(count, generator, palette.floor, (1.0, 3.0)),
        chance(generator, (count,), 0.4),
    )
    zero = torch.zeros(count, device=half.device)
    made = [solid(generator, (zero, zero + GROUND), (zero + 0.1, zero + 0.1), (zero, zero + GROUND), ground)]
    for _ in range(OBJECTS):
        draw = uniform(generator, (7, count))
        post = draw[0] < 0.4
        wide = torch.where(post, 0.02 + 0.04 * draw[1], 0.2 + 0.6 * draw[1])
        deep = torch.where(post, wide, 0.15 + 0.3 * draw[2])
        high = torch.where(post, 0.5 + 0.8 * draw[3], 0.15 + 0.35 * draw[3])
        x, z = (2.4 * draw[4] - 1.2) * half[:, 0], -0.4 - 3.0 * draw[5]
        skin = photo_skin(count, generator, palette, (0.5, 1.5))
        angle = draw[6] * math.pi
        made.append(
            solid(generator, (x, wide), (-high, high), (z, deep), skin, None, angle, chance(generator, (count,), 0.7))
        )
    return made


def _propose(layout: BoxLayout, lens: Lens, generator: torch.Generator, difficulty: float) -> Proposal:
    """Views of places on the front, from the street or from the air, some straight, some along the wall."""
    shape = tuple(lens.focal0.shape)
    device = layout.half.device
    half = layout.half[:, None]
    reach = torch.exp(uniform(generator, (shape[0], 1), math.log(1.0), math.log(7.0))).expand(shape)
    reach = (reach * torch.exp(uniform(generator, shape, -0.3, 0.3))).clamp(0.9, 9.0)
    reach1 = (reach * torch.exp(-lens.log_ratio)).clamp(0.7, 11.0)
    target0 = torch.stack(
        (
            uniform(generator, shape, -1.0, 1.0) * half[..., 0],
            -2 * uniform(generator, shape, 0.05, 0.95) * half[..., 1],
            uniform(generator, shape, -0.3, 0.3),
        ),
        dim=-1,
    )
    shift = torch.randn((*shape, 3), generator=generator, device=device) * 0.3 * torch.minimum(reach, reach1)[..., None]
    target1 = target0 + shift * (0.4 + 0.6 * difficulty)
    target1[..., 1] = target1[..., 1].clamp(max=-0.1)
    lean0 = uniform(generator, shape, -MAX_LEAN, MAX_LEAN) * (0.5 + 0.5 * difficulty)
    near = lean0 + torch.randn(shape, generator=generator, device=device) * math.radians(8 + 17 * difficulty)
    anywhere = uniform(generator, shape, -MAX_LEAN, MAX_LEAN)
    lean1 = torch.where(chance(generator, shape, 0.4 * difficulty), anywhere, near).clamp(-MAX_LEAN, MAX_LEAN)
    rise0 = uniform(generator, shape, -0.5, 0.35)
    rise1 = rise0 + uniform(generator, shape, -0.3, 0.3) * difficulty
    position0 = _stand(target0, reach * lens.focal0, lean0, rise0)
    return Proposal(position0, target0, _stand(target1, reach1 * lens.focal1, lean1, rise1), target1)


def _stand(target: Tensor, distance: Tensor, lean: Tensor, rise: Tensor) -> Tensor:
    """Camera positions `distance` from their targets, leaning to the side, rising above them, never underground."""
    level = distance * rise.cos()
    apart = torch.stack((level * lean.sin(), -distance * rise.sin(), -level * lean.cos()), dim=-1)
    position = target + apart
    position[..., 1] = position[..., 1].clamp(max=-0.2)
    return position
