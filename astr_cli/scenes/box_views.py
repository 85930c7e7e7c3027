"""Choosing two cameras for a scene: of many proposed pairs, the one nearest to a target overlap and scale ratio."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.boxes import Boxes, clearance
from astr_cli.scenes.geometry import Cameras, chance, intrinsics_matrix, look_at, uniform
from astr_cli.scenes.overlap import cast_shares
from astr_cli.scenes.views import ViewPair

CANDIDATES = 20
GRID = 10  # pixels per side on which candidates are judged
OVERLAPS = (0.12, 0.87)  # a little inside 0.1 to 0.9, as a grid that coarse errs by about 0.02
LEAST_SHARE = 0.05  # of either image: a close-up at ratio 4 fills a sixteenth of the other one
LEAST_KNOWN = 0.45  # of either image: the rest may be sky
WIDEST_RATIO = 4.0
USUAL_RATIO = 1.6
HARD_RATIO = 2.0
ROOM_TO_MOVE = 0.12  # world units between a camera and any box


class Proposal(NamedTuple):
    """Cameras of C pairs for each scene, before their lenses: (B, C, 3) positions, targets."""

    position0: Tensor
    target0: Tensor
    position1: Tensor
    target1: Tensor


def wished_ratios(count: int, generator: torch.Generator, difficulty: float, hard: bool = False) -> Tensor:
    """(count, CANDIDATES) of log scale ratios, one for each scene: often mild, in four of ten up to WIDEST_RATIO.

    `hard` ones are all from HARD_RATIO to there, one way or the other.
    """
    shape = (count, 1)
    if hard:
        size = uniform(generator, shape, math.log(HARD_RATIO), math.log(WIDEST_RATIO))
        return torch.where(chance(generator, shape, 0.5), size, -size).expand(-1, CANDIDATES)
    usual = uniform(generator, shape, -math.log(USUAL_RATIO), math.log(USUAL_RATIO))
    widest = (0.4 + 0.6 * difficulty) * math.log(WIDEST_RATIO)
    wide = uniform(generator, shape, -widest, widest)
    return torch.where(chance(generator, shape, 0.4), wide, usual * max(difficulty, 0.3)).expand(-1, CANDIDATES)


def draw_focals(count: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Focal lengths (count, CANDIDATES) of both views in pixels: one camera, or two."""
    shape = (count, CANDIDATES)
    focal0 = width * torch.exp(uniform(generator, shape, math.log(0.6), math.log(1.5)))
    other = focal0 * torch.exp(uniform(generator, shape, -math.log(1.5), math.log(1.5)))
    focal1 = torch.where(chance(generator, (count, 1), 0.5), focal0, other)
    return focal0, focal1.clamp(0.6 * width, 1.6 * width)


def choose_views(
    boxes: Boxes,
    proposal: Proposal,
    focals: tuple[Tensor, Tensor],
    wished_ratio: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
    difficulty: float,
) -> ViewPair:
    """The pair of each scene nearest to its target scale ratio (log, (B, C)) and to a target overlap.

    The overlap (as `overlap` says) is drawn from 0.1 (0.6 at difficulty 0) to 0.9, but no more than the ratio leaves
    room for. Pairs beyond 0.1 to 0.9 and beyond ratio 4, cameras inside boxes and views of little but sky are used
    only when no others exist.
    """
    first = _cameras(proposal.position0, proposal.target0, focals[0], size, generator, difficulty)
    second = _cameras(proposal.position1, proposal.target1, focals[1], size, generator, difficulty)
    first, second = (Cameras(*(part.to(boxes.centre.device) for part in cameras)) for cameras in (first, second))
    count = len(boxes.centre)
    wished = uniform(generator, (count, 1), 0.6 - 0.5 * difficulty, OVERLAPS[1]).to(first.position.device)
    wished_ratio = wished_ratio.to(first.position.device)
    wished = torch.minimum(wished, 0.9 * torch.exp(-wished_ratio.abs()))  # more than 1 / ratio cannot be
    there = cast_shares(boxes, first, second, size, GRID)
    back = cast_shares(boxes, second, first, size, GRID)
    overlap = (there.seen * back.seen).sqrt()
    ratio = 0.5 * (there.log_ratio - back.log_ratio)
    miss = (overlap - wished).abs() + 0.5 * (ratio - wished_ratio).abs()
    miss += 3.0 * ((overlap < OVERLAPS[0]) | (overlap > OVERLAPS[1]) | (ratio.abs() > math.log(WIDEST_RATIO)))
    miss += 10.0 * (torch.minimum(there.seen, back.seen) < LEAST_SHARE)
    miss += 3.0 * (torch.minimum(there.known, back.known) < LEAST_KNOWN)
    free = torch.minimum(clearance(boxes, first.position), clearance(boxes, second.position))
    best = (miss + 5.0 * (free < ROOM_TO_MOVE)).argmin(dim=1)
    return ViewPair(first.select(best), second.select(best))


def _cameras(
    position: Tensor,
    target: Tensor,
    focal: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
    difficulty: float,
) -> Cameras:
    """Cameras that look at their targets, mostly upright, now and then turned by up to a right angle."""
    shape = tuple(focal.shape)
    small = torch.randn(shape, generator=generator, device=generator.device).clamp(-2, 2) * math.radians(10)
    large = uniform(generator, shape, -math.pi / 2, math.pi / 2)
    roll = torch.where(chance(generator, shape, 0.2 * difficulty), large, small)
    off_x = uniform(generator, shape, -0.04, 0.04) * size[1]
    off_y = uniform(generator, shape, -0.04, 0.04) * size[0]
    intrinsics = intrinsics_matrix(focal, (size[1] - 1) / 2 + off_x, (size[0] - 1) / 2 + off_y)
    return Cameras(intrinsics, look_at(position, target, roll), position)
