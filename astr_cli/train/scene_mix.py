"""The choice of the kind of scene for a batch, and the batch. All random numbers come from the given generator."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.errors import AstrError
from astr_cli.scenes.facades import render_facades
from astr_cli.scenes.floating import add_floating
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.lifted import Sheets, render_lifted
from astr_cli.scenes.photometric import photometric
from astr_cli.scenes.planes import render_planes
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.rooms import render_rooms
from astr_cli.train.colmap_model import load_models
from astr_cli.train.frames import RecordedSet
from astr_cli.train.megadepth import load_megadepth
from astr_cli.train.photos import PhotoSet
from astr_cli.train.rgbd import RgbdSet, load_rgbd

PHOTOS_OF_A_STAGE = 4  # photos in each room or street

Render = Callable[[Tensor, tuple[int, int], torch.Generator, float, bool], ScenePair]
ONE_PHOTO: dict[str, Render] = {"planes": render_planes, "relief": render_relief}
MANY_PHOTOS: dict[str, Render] = {"rooms": render_rooms, "facades": render_facades}
Recordings = Mapping[str, RecordedSet]  # by kind: rgbd, megadepth, model
# Kinds whose depth is exact enough for the fine stage.
SUBPIXEL = frozenset(ONE_PHOTO) | frozenset(MANY_PHOTOS) | {"megadepth", "lifted"}


@dataclass(frozen=True)
class SceneShares:
    """Shares of the kinds of scenes among the batches; their sum may be any positive number."""

    planes: float = 0.2
    relief: float = 0.3
    rooms: float = 0.2
    facades: float = 0.25
    rgbd: float = 0.05  # only if sequences are given; few, because they show two rooms with labels off by a pixel
    lifted: float = 0.1  # only if sequences are given: their frames, rendered
    megadepth: float = 0.15  # only if a folder is given; NOTE a guess, not measured
    model: float = 0.3  # only if a folder is given; NOTE a guess, not measured


@dataclass(frozen=True)
class SceneMix:
    """The values of a run that its scenes depend on."""

    batch: int
    side: int  # pixels
    shares: SceneShares = SceneShares()
    difficulty: float = 1.0  # of the views; drawn from 0 to this for each batch
    light: float = 0.6  # strength of photometric changes; drawn from 0 to this for each image
    hard: float = 0.0  # share of batches with scale ratios from 2 to 4 and steep planes, at half the difficulty or more
    floating: float = 0.0  # share of the rendered batches with objects that float before the scene
    full_light: float = 0.0  # share of batches with all photometric changes at full strength


class RecordingFolders(NamedTuple):
    """Where recordings are, by kind."""

    rgbd: Path | None = None
    megadepth: Path | None = None
    model: Path | None = None


class Mixed(NamedTuple):
    """A batch and its kind."""

    kind: str  # a field of SceneShares; labels of kinds outside of SUBPIXEL are coarse only
    scene: ScenePair


def load_recordings(folders: RecordingFolders) -> Recordings:
    """The recordings in the given folders. Raises AstrError."""
    loaders: Mapping[str, Callable[[Path], RecordedSet]]
    loaders = {"rgbd": load_rgbd, "megadepth": load_megadepth, "model": load_models}
    given = {kind: folder for kind, folder in folders._asdict().items() if folder is not None}
    return {kind: loaders[kind](folder) for kind, folder in given.items()}


def mixed_scene(
    photos: PhotoSet, recordings: Recordings | None, mix: SceneMix, generator: torch.Generator, device: torch.device
) -> Mixed:
    """A batch of one kind drawn by the shares; each view has its own photometric changes. Raises AstrError."""
    draw, share, rare, bright = torch.rand(4, generator=generator).tolist()
    given = recordings or {}
    kind = kind_of(draw, mix.shares, given.keys())
    hard = rare < mix.hard
    difficulty = mix.difficulty * (0.5 + 0.5 * share if hard else share)
    scene = scene_of(kind, photos, given, mix, generator, device, difficulty, hard)
    # Drawn only if asked for: the batches of older runs stay the same.
    if mix.floating and kind not in RecordingFolders._fields and torch.rand(1, generator=generator) < mix.floating:
        scene = add_floating(scene, photos.crops(mix.batch, mix.side // 2, generator).to(device), generator)
    light = 1.0 if bright < mix.full_light else mix.light
    image0, image1 = (photometric(image, generator, light) for image in (scene.image0, scene.image1))
    return Mixed(kind, scene._replace(image0=image0, image1=image1))


def kind_of(draw: float, shares: SceneShares, given: Iterable[str] = ()) -> str:
    """The kind for the random number `draw` from [0, 1), with the `given` kinds of recordings.

    Raises AstrError if no share is positive.
    """
    absent = set(RecordingFolders._fields) - set(given)
    absent |= {"lifted"} if "rgbd" in absent else set()
    weights = {name: float(weight) for name, weight in vars(shares).items() if name not in absent}
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        given = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        raise AstrError(f"shares of scenes must not be negative, and at least one of them must be positive: {given}")
    below = 0.0
    for name, weight in weights.items():
        below += weight / total
        if draw < below:
            return name
    return max(name for name, weight in weights.items() if weight > 0)  # rounding can leave the sum below 1


def scene_of(
    kind: str,
    photos: PhotoSet,
    recordings: Recordings,
    mix: SceneMix,
    generator: torch.Generator,
    device: torch.device,
    difficulty: float,
    hard: bool = False,
) -> ScenePair:
    """A batch of the given kind without photometric changes, on `device`. Raises AstrError: recordings are missing.

    Recordings are never `hard`.
    """
    size = (mix.side, mix.side)
    if kind in ONE_PHOTO:
        crops = photos.crops(mix.batch, 2 * mix.side, generator).to(device)
        return ONE_PHOTO[kind](crops, size, generator, difficulty, hard)
    if kind in MANY_PHOTOS:
        side = 4 * mix.side // 3
        crops = photos.crops(mix.batch * PHOTOS_OF_A_STAGE, side, generator).to(device)
        stages = crops.view(mix.batch, PHOTOS_OF_A_STAGE, side, side)
        return MANY_PHOTOS[kind](stages, size, generator, difficulty, hard)
    if kind == "lifted":
        return render_lifted(_sheets(recordings, mix.batch, generator, device), size, generator, difficulty, hard)
    if kind not in recordings:
        raise AstrError(f"scenes of kind '{kind}' need a folder of recordings; give --{kind}")
    pairs = recordings[kind].batch(mix.batch, mix.side, generator, difficulty)
    return ScenePair(*(part.to(device) for part in pairs))


def _sheets(recordings: Recordings, count: int, generator: torch.Generator, device: torch.device) -> Sheets:
    sequences = recordings.get("rgbd")
    if not isinstance(sequences, RgbdSet):
        raise AstrError("scenes of kind 'lifted' need RGB-D sequences; give --rgbd")
    return Sheets(*(part.to(device) for part in sequences.sheets(count, generator)))
