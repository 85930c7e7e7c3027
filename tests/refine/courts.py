"""Photos of textured rectangles with exact geometry: what refinement is tested, and its settings chosen, on.

World: x right, y down, z forward, metres. Photo pixels: the centre of the first is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from astr_cli.refine.observations import Observations
from astr_cli.refine.planning import Plan, plan_from_neighbours
from astr_cli.refine.pyramid import Pyramid, build_pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.tracks import Refined, refine_tracks
from astr_cli.scenes.patterns import noise
from astr_cli.scenes.textures import procedural_textures
from astr_cli.scenes.texturing import build_pyramid as build_texture
from astr_cli.scenes.texturing import sample

Floats = NDArray[np.float64]
SUPERSAMPLING = 2
TEXELS = 1024
VISIBLE = 1e-4  # of the depth: how much farther than what is seen there a point may be


class Rectangle(NamedTuple):
    """The points corner + u across + v down with u, v in [0, 1]; the sides are at right angles."""

    corner: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]


class Camera(NamedTuple):
    """x = K R (X - centre)."""

    intrinsics: Floats  # (3, 3)
    rotation: Floats  # (3, 3)
    centre: Floats  # (3,)
    size: tuple[int, int]  # width, height

    def rays(self, pixels: Floats) -> Floats:
        """(3, M) directions of z-depth 1 of pixels (M, 2)."""
        return self.rotation.T @ np.linalg.inv(self.intrinsics) @ np.c_[pixels, np.ones(len(pixels))].T

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """World points (M, 3) as pixels (M, 2), and their z-depths (M,)."""
        image = self.intrinsics @ self.rotation @ (points - self.centre).T
        return (image[:2] / image[2]).T, image[2]


@dataclass(frozen=True)
class Court:
    """A scene and its photos."""

    rectangles: list[Rectangle]
    cameras: list[Camera]
    photos: list[NDArray[np.uint8]]  # (H, W) each

    def points(self, photo: int, pixels: Floats) -> Floats:
        """World points (M, 3) that are seen at pixels (M, 2); NaN for the sky."""
        camera = self.cameras[photo]
        _, depth, _, _ = cast(self.rectangles, camera.centre, camera.rays(pixels))
        depth = np.where(np.isfinite(depth), depth, np.nan)
        return camera.centre + depth[:, None] * camera.rays(pixels).T

    def seen_from(self, photo: int, points: Floats) -> Floats:
        """Pixels (M, 2) of world points in a photo; NaN where they are hidden or outside."""
        camera = self.cameras[photo]
        pixels, depth = camera.project(points)
        inside = ((pixels >= 0) & (pixels <= np.array(camera.size) - 1)).all(1) & (depth > 0.1)
        pixels = np.where(inside[:, None], pixels, 0)
        _, nearest, _, _ = cast(self.rectangles, camera.centre, camera.rays(pixels))
        return np.where((inside & (depth < nearest * (1 + VISIBLE)))[:, None], pixels, np.nan)


def cast(rectangles: list[Rectangle], centre: Floats, rays: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Which rectangle each ray (3, M) meets first (-1: none), at what z-depth (inf: none), u and v."""
    nearest, which = np.full(rays.shape[1], np.inf), np.full(rays.shape[1], -1)
    u, v = np.zeros(rays.shape[1]), np.zeros(rays.shape[1])
    for number, rectangle in enumerate(rectangles):
        depth, (along, down) = meet(rectangle, centre, rays)
        hit = (depth > 0) & (depth < nearest) & (along >= 0) & (along <= 1) & (down >= 0) & (down <= 1)
        nearest[hit], which[hit], u[hit], v[hit] = depth[hit], number, along[hit], down[hit]
    return which, nearest, u, v


def meet(rectangle: Rectangle, centre: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Z-depth (M,) of where rays (3, M) meet the plane of a rectangle, and u and v (2, M) there."""
    sides = np.array(rectangle[1:])
    normal = np.cross(*sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = normal @ (np.array(rectangle.corner) - centre) / (normal @ rays)
        sides = sides / (sides**2).sum(1, keepdims=True)
        return depth, (sides @ (centre - rectangle.corner))[:, None] + depth * (sides @ rays)


def look(
    centre: tuple[float, float, float],
    target: tuple[float, float, float],
    size: tuple[int, int] = (960, 720),
    roll: float = 0.0,
    focal: float = 0.9,
) -> Camera:
    """A camera that looks at a point, its image turned by `roll` radians; `focal` in photo widths."""
    forward = np.subtract(target, centre) / np.linalg.norm(np.subtract(target, centre))
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, forward])
    f = focal * max(size)
    intrinsics = np.array([[f, 0, (size[0] - 1) / 2 + 3.3], [0, f, (size[1] - 1) / 2 - 2.1], [0, 0, 1.0]])
    return Camera(intrinsics, rotation, np.array(centre, float), size)


def textures(count: int, seed: int = 0, rough: float = 0.5) -> torch.Tensor:
    """(count, 1, T, T) windows, bricks, tiles and blobs in turn, under noise as rough as that of photos."""
    generator = torch.Generator().manual_seed(seed)
    patterns = procedural_textures(count, (TEXELS, TEXELS), generator)
    grain = noise(count, TEXELS, generator, torch.device("cpu"), finest=TEXELS, roughness=(0.9, 1.0))
    return (patterns + rough * (grain - 0.5)).clamp(0, 1)


def render(
    rectangles: list[Rectangle], camera: Camera, skins: torch.Tensor, seed: int, exposure: float = 1.0
) -> NDArray[np.uint8]:
    """A photo (H, W) with sensor noise; the sky is brighter above."""
    width, height = (side * SUPERSAMPLING for side in camera.size)
    image = np.repeat(np.linspace(0.85, 0.65, height, dtype=np.float32)[:, None], width, 1)
    nearest = np.full(image.shape, np.inf)
    for number, rectangle in enumerate(rectangles):
        box = bounds(rectangle, camera)
        y, x = np.mgrid[box]
        if not y.size:
            continue
        pixels = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / SUPERSAMPLING - 0.5
        depth, place = meet(rectangle, camera.centre, camera.rays(pixels))
        depth = depth.reshape(y.shape)
        u, v = (torch.from_numpy(np.nan_to_num(at, posinf=9, neginf=-9).astype(np.float32)) for at in place)
        u, v = u.view(1, *y.shape), v.view(1, *y.shape)
        skin = sample(build_texture(skins[number : number + 1]), u, v)[0, 0].numpy()
        hit = (depth > 0) & (depth < nearest[box]) & ((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1))[0].numpy()
        image[box][hit], nearest[box][hit] = skin[hit], depth[hit]
    image = image.reshape(camera.size[1], SUPERSAMPLING, camera.size[0], SUPERSAMPLING).mean((1, 3))
    grain = np.random.default_rng(seed).normal(0, 0.006, image.shape)
    return np.rint(np.clip(image * exposure + grain, 0, 1) * 255).astype(np.uint8)


def bounds(rectangle: Rectangle, camera: Camera) -> tuple[slice, slice]:
    """Rows and columns of the finer grid on which a rectangle may be seen."""
    corner, across, down = (np.array(part) for part in rectangle)
    pixels, depth = camera.project(np.stack([corner, corner + across, corner + down, corner + across + down]))
    if depth.max() < 0.1:
        return slice(0, 0), slice(0, 0)
    if depth.min() < 0.1:
        return slice(0, camera.size[1] * SUPERSAMPLING), slice(0, camera.size[0] * SUPERSAMPLING)
    low, high = np.floor(pixels.min(0)).astype(int) - 1, np.ceil(pixels.max(0)).astype(int) + 2
    (x0, y0), (x1, y1) = (np.clip(end, 0, camera.size) * SUPERSAMPLING for end in (low, high))
    return slice(y0, y1), slice(x0, x1)


def court(
    rectangles: list[Rectangle],
    cameras: list[Camera],
    seed: int = 0,
    exposures: tuple[float, ...] = (1.0,),
    skins: torch.Tensor | None = None,
) -> Court:
    """Renders every camera's photo; exposures are taken in turn."""
    skins = textures(len(rectangles), seed) if skins is None else skins
    photos = [
        render(rectangles, camera, skins, seed + k, exposures[k % len(exposures)]) for k, camera in enumerate(cameras)
    ]
    return Court(rectangles, cameras, photos)


def wall(width: float = 6.0, height: float = 4.0, distance: float = 6.0) -> Rectangle:
    """An upright wall at right angles to the z axis."""
    return Rectangle((-width / 2, -height / 2, distance), (width, 0, 0), (0, height, 0))


def observe(
    scene: Court,
    factor: float,
    count: int = 600,
    seed: int = 0,
    error: float = 0.35,
    cameras: list[int] | None = None,
) -> tuple[Observations, Floats]:
    """Tracks as a matcher that sees photos shrunk by `factor` finds them, and the world point (T, 3) of each.

    Its error is `error` matched pixels on each axis, three times that for every tenth observation.
    """
    random = np.random.default_rng(seed)
    photos = list(range(len(scene.cameras))) if cameras is None else cameras
    start = random.integers(0, len(photos), count)
    points = np.full((count, 3), np.nan)
    for k, photo in enumerate(photos):
        mine = np.flatnonzero(start == k)
        pixels = random.uniform(0, 1, (len(mine), 2)) * (np.array(scene.cameras[photo].size) - 1)
        points[mine] = scene.points(photo, pixels)
    points = points[np.isfinite(points[:, 0])]
    photo_of, track_of, xy = [], [], []
    for photo in photos:
        pixels = scene.seen_from(photo, points)
        track = np.flatnonzero(np.isfinite(pixels[:, 0]))
        photo_of.append(np.full(len(track), photo))
        track_of.append(track)
        xy.append(pixels[track])
    photo, track = (np.concatenate(column).astype(np.int32) for column in (photo_of, track_of))
    spread = error * factor * np.where(random.uniform(size=len(photo)) < 0.1, 3.0, 1.0)
    moved = np.concatenate(xy) + random.normal(0, 1, (len(photo), 2)) * spread[:, None]
    sizes = np.array([camera.size for camera in scene.cameras], np.int32)
    moved = np.clip(moved, 0, sizes[photo] - 1.0)
    return Observations(photo, track, moved, np.full(len(photo), factor), sizes), points


def errors(scene: Court, seen: Observations, reference: NDArray[np.int64], xy: Floats) -> Floats:
    """(O,) pixels between observations xy (O, 2) and what their track's reference shows; NaN where that is hidden."""
    found = np.full(len(xy), np.nan)
    base = reference[seen.track]
    for a in range(len(scene.cameras)):
        points = scene.points(a, seen.xy[base])
        for b in range(len(scene.cameras)):
            here = (seen.photo[base] == a) & (seen.photo == b) & (base != np.arange(len(base)))
            found[here] = np.linalg.norm(scene.seen_from(b, points[here]) - xy[here], axis=1)
    return found


class Outcome(NamedTuple):
    """A refinement, and its errors in photo pixels where the point can be seen, (K,)."""

    seen: Observations
    plan: Plan
    refined: Refined
    rows: NDArray[np.int64]  # the K observations
    before: Floats
    after: Floats

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(K,) which were refined."""
        return self.refined.status[self.rows] == Status.REFINED


def outcome(
    scene: Court,
    seen: Observations,
    settings: Settings | None = None,
    plan: Plan | None = None,
    pyramids: list[Pyramid] | None = None,
) -> Outcome:
    """Refines the observations of a scene; its photos as they are unless `pyramids` are given."""
    settings = settings or Settings()
    pyramids = pyramids or [build_pyramid(photo) for photo in scene.photos]
    plan = plan or plan_from_neighbours(seen, settings.half)
    refined = refine_tracks(seen, plan, lambda number: pyramids[number], settings)
    before, after = (errors(scene, seen, plan.reference, xy) for xy in (seen.xy, refined.xy))
    rows = np.flatnonzero(np.isfinite(before) & np.isfinite(after))
    return Outcome(seen, plan, refined, rows, before[rows], after[rows])


def yard(seed: int = 0, views: int = 3, size: tuple[int, int] = (720, 540)) -> Court:
    """Two walls, a floor, a box and a pillar on it, from cameras on an arc."""
    walls = [
        Rectangle((-5, -3, 6), (9, 0, 0), (0, 5, 0)),
        Rectangle((4, -3, 6), (0, 0, -8), (0, 5, 0)),
        Rectangle((-5, 2, 6), (9, 0, 0), (0, 0, -8)),
    ]
    solids = [*box(0.3 - 0.9 * np.sin(seed), 3.6, 0.9, 1.5, 0.4 + seed), *box(-2.2, 4.2, 0.4, 2.2, 0.1 + seed)]
    cameras = [
        look(
            (2.4 * w - 0.9, 0.1 - 0.5 * np.cos(3 * w), -3.1 + 0.9 * w * w + 0.3 * np.sin(7 * w + seed)),
            (0.5 + 0.5 * w, 0.3, 4.0),
            size,
            roll=0.05 * np.sin(5 * w),
        )
        for w in np.linspace(-1, 1, views)
    ]
    return court([*walls, *solids], cameras, seed, (1.0, 0.8, 1.1, 0.9))


def box(x: float, z: float, half: float, height: float, turn: float) -> list[Rectangle]:
    """The sides and the lid of a box on the floor, y = 2."""
    side = np.array([np.cos(turn), 0, np.sin(turn)]) * half
    deep = np.array([-np.sin(turn), 0, np.cos(turn)]) * half
    middle, up = np.array([x, 2.0, z]), np.array([0, -height, 0.0])
    ring = [middle - side - deep, middle + side - deep, middle + side + deep, middle - side + deep]
    faces = [(a + up, b - a, -up) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    faces.append((ring[3] + up, ring[2] - ring[3], ring[0] - ring[3]))
    return [Rectangle(*(tuple(part) for part in face)) for face in faces]
