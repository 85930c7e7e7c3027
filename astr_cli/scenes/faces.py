"""The appearance of the faces of boxes: tiles of texture, and grids of equal holes with panes in them.

A face has coordinates p and q in world units from its middle, q down on upright faces, and an axis into the solid.
Holes are windows, shelves, coffers: as deep as `recess`, so they show and hide their sides as the camera moves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.boxes import Boxes, Hits
from astr_cli.scenes.geometry import Rays

CHANCES = 1024  # draws per scene, a power of two; every cell of a grid owns two of them


class Skin(NamedTuple):
    """Texture of faces, (B, F) each; face 6 k + 2 axis + side of box k, side 1 at the positive end of the axis."""

    tile: Tensor  # number of the tile in the scene's atlas
    scale: Tensor  # world units that a tile spans; beyond, it is repeated, mirrored
    shift_u: Tensor  # in tiles
    shift_v: Tensor
    base: Tensor  # grey where the tile is 0.5
    contrast: Tensor  # of the tile
    light: Tensor  # brightness under the scene's light
    grain: Tensor  # strength of fine noise
    dirt: Tensor  # strength of coarse noise


class Grid(NamedTuple):
    """Holes of faces, (B, F) each; no columns means no holes."""

    cell_p: Tensor  # world units
    cell_q: Tensor
    start_p: Tensor  # where the first cell begins
    start_q: Tensor
    columns: Tensor
    rows: Tensor
    half_p: Tensor  # of a hole
    half_q: Tensor
    recess: Tensor  # 0: a pane that is flush with the wall
    trim: Tensor  # width of the band around a hole, world units
    trim_light: Tensor
    pane: Tensor  # number of the tile on the hole's ground
    other_pane: Tensor  # and of the one that some cells have in its place
    other_share: Tensor
    missing: Tensor  # share of cells without a hole
    variation: Tensor  # of brightness, from cell to cell


class FaceHits(NamedTuple):
    """Hits in the coordinates of their faces: (B, N) each, vectors as three of them (p, q, into the solid)."""

    face: Tensor  # int64
    point: tuple[Tensor, Tensor, Tensor]
    direction: tuple[Tensor, Tensor, Tensor]
    edge: Tensor  # distance to the face's nearest edge


class Cell(NamedTuple):
    """Where hits fall in their face's grid: (B, N) each."""

    inside: Tensor  # 1.0 in a hole
    pane: Tensor  # 1.0 on a hole's ground
    trim: Tensor  # 1.0 on the band around a hole
    further: Tensor  # z-depth from the face to the surface seen in the hole
    point: tuple[Tensor, Tensor, Tensor]  # p, q on the face and depth in the solid, of the visible surface
    u: Tensor  # place on the pane, 0 to 1
    v: Tensor
    chance: Tensor  # the cell's own draw
    parity: Tensor  # alternates between neighbouring cells: tells them apart


def pick(table: tuple[Tensor, ...], index: Tensor) -> tuple[Tensor, ...]:
    """The entries (B, N) that `index` (B, N) names of every (B, F) field."""
    return tuple(field.gather(1, index) for field in table)


def face_hits(boxes: Boxes, hits: Hits, rays: Rays) -> FaceHits:
    """Hits (depth finite) in their faces' frames."""
    turn = pick(boxes.turn.flatten(2).unbind(2), hits.box)
    centre, half = pick(boxes.centre.unbind(2), hits.box), pick(boxes.half.unbind(2), hits.box)
    point = [torch.addcmul(rays.origin[:, k], hits.depth, rays.direction[:, k]) - centre[k] for k in range(3)]
    local = _rotate(turn, point)
    shares = [(local[k] / half[k]).abs_() for k in range(3)]
    second = (shares[1] > shares[0]).logical_and_(shares[1] >= shares[2]).float()
    third = (shares[2] > shares[0]).logical_and_(shares[2] > shares[1]).float()
    first = 1 - second - third

    def to_face(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x + first * (z - x), y + second * (z - y), first * x + second * y + third * z

    p, q, height = to_face(*local)
    half_p, half_q, _ = to_face(*half)
    dp, dq, dn = to_face(*_rotate(turn, rays.direction.unbind(1)))
    face = torch.addcmul(6 * hits.box + (height > 0), second + 2 * third, second.new_tensor(2.0)).long()
    edge = torch.minimum(half_p - p.abs(), half_q - q.abs())
    return FaceHits(face, (p, q, torch.zeros_like(p)), (dp, dq, dn.abs()), edge)


def _rotate(turn: tuple[Tensor, ...], vector: Sequence[Tensor]) -> list[Tensor]:
    """(B, N) components of vectors in box axes; boxes are upright, so only x and z mix."""
    x, y, z = vector
    return [torch.addcmul(turn[0] * x, turn[2], z), y, torch.addcmul(turn[6] * x, turn[8], z)]


def footprint(frame: FaceHits, rays: Rays, depth: Tensor, focal: Tensor) -> Tensor:
    """(B, N) squared world units that a pixel covers on its face: mean of the long way and the short way.

    `focal` (B, 1) in pixels.
    """
    lean = rays.direction.square().sum(dim=1) / frame.direction[2].square().clamp(min=1e-6)
    return (depth / focal).square_().mul_(0.5 + 0.5 * lean)


def enter_grid(grid: Grid, chances: Tensor, frame: FaceHits) -> Cell:
    """Follow rays into the holes of their faces' grids (fields (B, N)); `chances` is (B, CHANCES) in [0, 1]."""
    (p, q, _), (dp, dq, dn) = frame.point, frame.direction
    column, row = ((p - grid.start_p) / grid.cell_p).floor(), ((q - grid.start_q) / grid.cell_q).floor()
    own = (column * 7 + row * 131 + frame.face * 37).long() & (CHANCES - 1)
    chance = chances.gather(1, own)
    present = (column >= 0) & (column < grid.columns) & (row >= 0) & (row < grid.rows) & (chance >= grid.missing)
    off_p = p - grid.start_p - (column + 0.5) * grid.cell_p
    off_q = q - grid.start_q - (row + 0.5) * grid.cell_q
    beyond = torch.maximum(off_p.abs() - grid.half_p, off_q.abs() - grid.half_q)
    inside = present & (beyond < 0)
    trim = (present & (beyond >= 0) & (beyond < grid.trim)).float()

    to_pane = grid.recess / dn.clamp(min=1e-9)
    side_p = (grid.half_p - off_p * dp.sign()) / dp.abs().clamp(min=1e-9)
    side_q = (grid.half_q - off_q * dq.sign()) / dq.abs().clamp(min=1e-9)
    to_side = torch.minimum(side_p, side_q)
    pane = (inside & (to_pane <= to_side)).float()
    further = torch.minimum(to_pane, to_side).masked_fill(~inside, 0.0)
    off_p, off_q = torch.addcmul(off_p, further, dp), torch.addcmul(off_q, further, dq)
    point = (torch.addcmul(p, further, dp), torch.addcmul(q, further, dq), further * dn)
    u, v = 0.5 + 0.5 * off_p / grid.half_p, 0.5 + 0.5 * off_q / grid.half_q
    parity = ((column.long() & 1) + 2 * (row.long() & 1)) * present
    second = chances.gather(1, own ^ (CHANCES // 2))
    return Cell(inside.float(), pane, trim, further, point, u, v, second, parity)
