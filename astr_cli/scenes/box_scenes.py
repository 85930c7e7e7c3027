"""From a layout of boxes to a rendered pair: tiles, light, views; shared by rooms and facades."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.box_building import Solid, assemble, sunlight
from astr_cli.scenes.box_rendering import BoxScene, render_box_scene
from astr_cli.scenes.box_views import Proposal, choose_views, draw_focals, wished_ratios
from astr_cli.scenes.faces import CHANCES
from astr_cli.scenes.geometry import ScenePair, uniform
from astr_cli.scenes.patterns import noise
from astr_cli.scenes.tiles import DIRT_SIDE, Palette, make_tiles


class BoxLayout(NamedTuple):
    """The objects of B scenes and their positions."""

    solids: list[Solid]  # the first is the room, where there is one
    half: Tensor  # (B, 3) half sides of the room or of the main building
    room: bool


class Lens(NamedTuple):
    """Camera properties for proposing views: (B, CANDIDATES) each."""

    focal0: Tensor  # in image widths
    focal1: Tensor
    log_ratio: Tensor  # target, of size in image1 over size in image0


LayOut = Callable[[int, torch.Generator, Palette], BoxLayout]
Propose = Callable[[BoxLayout, Lens, torch.Generator, float], Proposal]


def render_boxes(
    photos: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
    difficulty: float,
    lay_out: LayOut,
    propose: Propose,
    hard: bool,
) -> ScenePair:
    """Pairs of `size` (H, W) of B scenes with P photos each (B, P, h, w), on the photos' device."""
    count, device = len(photos), photos.device
    tiles, palette = make_tiles(photos, generator)
    layout = lay_out(count, generator, palette)
    sun, ambient = sunlight(count, generator)
    boxes, skin, grid = assemble(layout.solids, sun, ambient, layout.room, device)
    focals, wished = draw_focals(count, size[1], generator), wished_ratios(count, generator, difficulty, hard)
    lens = Lens(focals[0] / size[1], focals[1] / size[1], wished)
    proposal = propose(layout, lens, generator, difficulty)
    views = choose_views(boxes, proposal, focals, wished, size, generator, difficulty)
    dirt = noise(count, DIRT_SIDE, generator, device, finest=32)
    chances = uniform(generator, (count, CHANCES)).to(device)
    skies = _sky(count, size, generator, device), _sky(count, size, generator, device)
    return render_box_scene(BoxScene(boxes, skin, grid, tiles, palette, dirt, chances), views, skies)


def _sky(count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device) -> Tensor:
    """(count, 1, H, W): bright, with clouds; drawn apart for each view, as nothing in it can be matched."""
    side = max(size)
    clouds = noise(count, side, generator, device, finest=16)[..., : size[0], : size[1]]
    grey = uniform(generator, (count, 1, 1, 1), 0.5, 1.0).to(device)
    amount = uniform(generator, (count, 1, 1, 1), 0.0, 0.6).to(device)
    fall = torch.linspace(1.05, 0.85, size[0], device=device).view(1, 1, -1, 1)
    return (grey * fall + amount * (clouds - 0.5)).clamp(0, 1)
