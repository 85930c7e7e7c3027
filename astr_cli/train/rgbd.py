"""Real RGB-D sequences as training pairs, within their limits: near frames only, no depth beside depth edges.

A sequence is a folder with frames.json (convention, K, size, poses by frame name), images/NAME.webp and depth/NAME.png
(millimetres, at half the image size, 0 = none). Their colour and depth are off by a pixel or two: enough for coarse
labels, too much for sub-pixel ones.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.scenes import ScenePair
from astr_cli.scenes.overlap import shares

Array = npt.NDArray[np.floating]

# Largest difference of frame numbers, as the notes of the sequences' own frames.json say; 3 for any other sequence.
GAP_LIMITS = {"redkitchen": 20, "hololens": 3}
OTHER_GAP_LIMIT = 3
DEEPEST = 6.0  # metres: beyond it the sensors' noise passes one percent
EDGE = 0.05  # relative difference of neighbouring depths from which on both count as unknown
AGREEMENT = 0.7  # least share of the points seen twice whose two depths agree: else the poses are off, or much moved
AGREED = 0.03  # relative
TRIES = 4  # pairs of frames looked at for one pair of the batch
CROPS = 8  # pairs of crops to choose one of a wished overlap from
OVERLAPS = (0.15, 0.9)
JUDGED = 24  # side of the depths that crops are judged by


@dataclass(frozen=True)
class Sequence:
    """One recording; files are kept packed."""

    name: str
    intrinsics: Array  # (3, 3) of the images
    numbers: tuple[int, ...]  # of frames, rising
    images: tuple[bytes, ...]
    depths: tuple[bytes, ...]
    poses: Array  # (F, 4, 4) camera to world, metres

    def gap_limit(self) -> int:
        """Largest trustworthy difference of frame numbers."""
        return GAP_LIMITS.get(self.name, OTHER_GAP_LIMIT)


@dataclass(frozen=True)
class RgbdSet:
    """All sequences below a folder."""

    sequences: tuple[Sequence, ...]

    def batch(self, count: int, side: int, generator: torch.Generator, difficulty: float = 1.0) -> ScenePair:
        """`count` pairs of square crops of `side` pixels, on the CPU; unknown depth is 0.

        `difficulty` from 0 to 1 is how far apart frames and crops are. Everything is drawn from the generator.
        """
        pairs = [self._pair(side, generator, difficulty) for _ in range(count)]
        return ScenePair(*(torch.stack(parts) for parts in zip(*pairs, strict=True)))

    def _pair(self, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
        """One pair, without the batch dimension."""
        for _ in range(TRIES):
            frames = self._frames(generator, difficulty)
            if agreement(*frames) >= AGREEMENT:
                break
        return _cropped(*frames, side, generator, difficulty)

    def _frames(self, generator: torch.Generator, difficulty: float) -> "tuple[Frame, Frame]":
        sizes = torch.tensor([float(len(sequence.numbers)) for sequence in self.sequences])
        sequence = self.sequences[int(torch.multinomial(sizes, 1, generator=generator))]
        first = int(torch.randint(len(sequence.numbers), (1,), generator=generator))
        limit = max(1.0, sequence.gap_limit() * (0.3 + 0.7 * difficulty))
        near = [k for k, n in enumerate(sequence.numbers) if 0 < abs(n - sequence.numbers[first]) <= limit]
        second = near[int(torch.randint(len(near), (1,), generator=generator))] if near else first
        return _decode(sequence, first), _decode(sequence, second)


class Frame(NamedTuple):
    image: npt.NDArray[np.uint8]  # (H, W)
    inverse: Array  # (H / 2, W / 2) 1 / z-depth, 0 = unknown
    intrinsics: Array  # (3, 3)
    pose: Array  # (4, 4) camera to world


class Crop(NamedTuple):
    """A turned square window of an image."""

    x: float  # centre, pixels of the image
    y: float
    extent: float  # side, pixels of the image
    roll: float  # radians


def load_rgbd(root: Path) -> RgbdSet:
    """Read all sequences below `root`. Raises AstrError when there is none, or one is not as it should be."""
    files = sorted(root.glob("*/frames.json"))
    if not files:
        raise AstrError(f"{root}: no */frames.json there; name the folder that holds the RGB-D sequences")
    return RgbdSet(tuple(_load_sequence(path) for path in files))


def _load_sequence(path: Path) -> Sequence:
    folder = path.parent
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(content["frames"], key=int)
        intrinsics = np.array(content["K"], dtype=np.float64).reshape(3, 3)
        poses = np.array([content["frames"][name] for name in names], dtype=np.float64).reshape(-1, 4, 4)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise AstrError(f"{path}: not the index of an RGB-D sequence ({error}); see its convention") from None
    if len(names) < 2 or not np.isfinite(poses).all():
        raise AstrError(f"{path}: fewer than two frames, or a pose that is not finite")
    images = tuple(_read(folder / "images" / f"{name}.webp") for name in names)
    depths = tuple(_read(folder / "depth" / f"{name}.png") for name in names)
    return Sequence(folder.name, intrinsics, tuple(int(name) for name in names), images, depths, poses)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AstrError(f"{path}: cannot be read ({error.strerror}), but frames.json names it") from None


def _decode(sequence: Sequence, index: int) -> Frame:
    image = cv2.imdecode(np.frombuffer(sequence.images[index], np.uint8), cv2.IMREAD_GRAYSCALE)
    depth = cv2.imdecode(np.frombuffer(sequence.depths[index], np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or depth is None or depth.ndim != 2:
        name = f"{sequence.name}, frame {sequence.numbers[index]}"
        raise AstrError(f"{name}: its image or its depth is damaged; take the frame out of frames.json")
    inverse = _trusted_inverse(depth.astype(np.float32) / 1000)
    return Frame(np.asarray(image, np.uint8), inverse, sequence.intrinsics, sequence.poses[index])


def _trusted_inverse(depth: Array) -> Array:
    """1 / depth (H, W) in metres; 0 where it is unknown, too deep, or beside an edge, as colour is off by a pixel."""
    around = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(depth, around), cv2.dilate(depth, around)
    trusted = (low > 0) & (high < DEEPEST) & (high - low < EDGE * high)
    return np.where(trusted, 1 / np.maximum(depth, 1e-3), 0).astype(np.float32)


def agreement(frame0: Frame, frame1: Frame) -> float:
    """Share of the points of both frames that the other one sees, and at the same depth; 0 where there are few."""
    seen, agreed = 0, 0
    for here, there in ((frame0, frame1), (frame1, frame0)):
        rows, columns = (line[4::8] for line in np.indices(here.inverse.shape)[:, :, 4::8])
        z = 1 / np.maximum(here.inverse[rows, columns], 1e-6)
        rays = np.linalg.inv(here.intrinsics) @ _homogeneous(2 * columns + 0.5, 2 * rows + 0.5)
        motion = np.linalg.inv(there.pose) @ here.pose
        moved = motion[:3, :3] @ (rays * z.ravel()) + motion[:3, 3:]
        place = there.intrinsics @ moved / np.maximum(moved[2], 1e-6)
        column, row = (np.rint((place[k] - 0.5) / 2).clip(-1, 1e6).astype(int) for k in (0, 1))
        inside = (here.inverse[rows, columns].ravel() > 0) & (moved[2] > 0.05) & (row >= 0) & (column >= 0)
        inside &= (row < there.inverse.shape[0]) & (column < there.inverse.shape[1])
        found = there.inverse[np.where(inside, row, 0), np.where(inside, column, 0)]
        known = inside & (found > 0)
        seen += int(known.sum())
        agreed += int((known & (np.abs(found * moved[2] - 1) < AGREED)).sum())
    return agreed / seen if seen > 50 else 0.0


def _homogeneous(x: Array, y: Array) -> Array:
    return np.stack((x.ravel(), y.ravel(), np.ones(x.size)))


def _cropped(frame0: Frame, frame1: Frame, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
    """The pair of crops whose overlap is nearest to a wished one, cut out."""
    wished = OVERLAPS[0] + (OVERLAPS[1] - OVERLAPS[0]) * (1 - difficulty * float(torch.rand(1, generator=generator)))
    candidates = [tuple(_draw_crop(frame, generator, difficulty) for frame in (frame0, frame1)) for _ in range(CROPS)]
    judged = [_cut((frame0, frame1), crops, JUDGED) for crops in candidates]
    rough = ScenePair(*(torch.stack(parts) for parts in zip(*judged, strict=True)))
    back = torch.linalg.inv(rough.pose)
    there = shares(rough.depth0, rough.depth1, rough.intrinsics0, rough.intrinsics1, rough.pose)
    here = shares(rough.depth1, rough.depth0, rough.intrinsics1, rough.intrinsics0, back)
    overlap = (there.seen * here.seen).sqrt()
    miss = (overlap - wished).abs() + 2.0 * ((overlap < OVERLAPS[0]) | (overlap > OVERLAPS[1]))
    miss = miss + (0.5 - torch.minimum(there.known, here.known)).clamp(min=0)
    return _cut((frame0, frame1), candidates[int(miss.argmin())], side)


def _draw_crop(frame: Frame, generator: torch.Generator, difficulty: float) -> Crop:
    """A window inside of the image (but for its corners when turned), mostly upright."""
    share, x, y, turn, rare = torch.rand(5, generator=generator).tolist()
    height, width = frame.image.shape
    extent = min(height, width) * (1 - 0.55 * difficulty * share)
    roll = (turn - 0.5) * (np.pi if rare < 0.1 * difficulty else 0.4 * difficulty)
    return Crop(extent / 2 - 0.5 + x * (width - extent), extent / 2 - 0.5 + y * (height - extent), extent, roll)


def _cut(frames: tuple[Frame, Frame], crops: tuple[Crop, ...], side: int) -> ScenePair:
    """Both crops at `side` pixels, with the cameras that would have taken them; without the batch dimension."""
    images, depths, intrinsics, turned = [], [], [], []
    for frame, crop in zip(frames, crops, strict=True):
        to_crop = _crop_matrix(crop, side)
        images.append(_warp_image(frame.image, to_crop, side))
        depths.append(_warp_depth(frame.inverse, to_crop, side))
        roll = np.eye(4)
        roll[:2, :2] = to_crop[:2, :2] * (crop.extent / side)
        turned.append(roll @ np.linalg.inv(frame.pose))
        # K' = A K R^-1: the crop's own turn goes into the pose, which leaves an upright K.
        camera = to_crop @ frame.intrinsics @ roll[:3, :3].T
        camera[0, 1] = camera[1, 0] = 0.0  # what is left of unequal focal lengths, 1e-4 of them
        intrinsics.append(camera)
    pose = turned[1] @ np.linalg.inv(turned[0])
    return ScenePair(
        *(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in (*images, *depths, *intrinsics, pose))
    )


def _crop_matrix(crop: Crop, side: int) -> Array:
    """(3, 3): pixels of the image to pixels of the crop, centres at whole numbers in both."""
    scale = side / crop.extent
    cos, sin = scale * np.cos(crop.roll), scale * np.sin(crop.roll)
    middle = (side - 1) / 2
    return np.array(
        (
            (cos, sin, middle - cos * crop.x - sin * crop.y),
            (-sin, cos, middle + sin * crop.x - cos * crop.y),
            (0.0, 0.0, 1.0),
        )
    )


def _warp_image(image: npt.NDArray[np.uint8], to_crop: Array, side: int) -> Array:
    """(1, side, side) in [0, 1]; reduced by areas first, so that nothing aliases."""
    scale = float(np.hypot(to_crop[0, 0], to_crop[0, 1]))
    if scale < 1:
        height, width = (max(2, round(length * scale)) for length in image.shape)
        factors = np.array((image.shape[1] / width, image.shape[0] / height))
        small_to_image = np.diag((*factors, 1.0))
        small_to_image[:2, 2] = 0.5 * factors - 0.5
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        to_crop = to_crop @ small_to_image
    warped = cv2.warpAffine(image, to_crop[:2], (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped[None].astype(np.float32) / 255


def _warp_depth(inverse: Array, to_crop: Array, side: int) -> Array:
    """(side, side) z-depth, bilinear in 1 / depth (exact on planes), 0 where any neighbour is unknown."""
    half_to_image = np.array(((2.0, 0.0, 0.5), (0.0, 2.0, 0.5), (0.0, 0.0, 1.0)))
    matrix = (to_crop @ half_to_image)[:2]
    known = (inverse > 0).astype(np.float32)
    warped, weight = (cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_LINEAR) for part in (inverse, known))
    return np.where(weight > 0.999, 1 / np.maximum(warped, 1e-6), 0)
