"""Recorded pairs: square crops of two frames with measured depth, and the cameras of the crops.

Pixel centres are at whole numbers, (0, 0) at the top left. Depth maps may be smaller or larger than their image; both
have the same field of view.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import shares

Array = npt.NDArray[np.floating]

EDGE = 0.05  # relative difference of neighbouring depths; both are unknown from this on
CROPS = 8  # pairs of crops; the one with the overlap nearest to the target is taken
OVERLAPS = (0.15, 0.9)
JUDGED = 24  # side of the depth maps for choosing crops
EQUAL = 2e-4  # focal lengths that differ by a smaller share are equal: no point moves by a tenth of a pixel


class Frame(NamedTuple):
    """A photo with depth and camera."""

    image: npt.NDArray[np.uint8]  # (H, W)
    inverse: Array  # (h, w) 1 / z-depth, 0 = unknown
    intrinsics: Array  # (3, 3) of the image
    pose: Array  # (4, 4) camera to world


class Crop(NamedTuple):
    """A rotated square window of an image."""

    x: float  # centre, pixels of the image
    y: float
    extent: float  # side, pixels of the image
    roll: float  # radians


class Geometry(NamedTuple):
    """A ScenePair without its images."""

    depth0: Tensor
    depth1: Tensor
    intrinsics0: Tensor
    intrinsics1: Tensor
    pose: Tensor


class RecordedSet(ABC):
    """Recordings that supply training pairs."""

    def batch(self, count: int, side: int, generator: torch.Generator, difficulty: float = 1.0) -> ScenePair:
        """`count` pairs of square crops of `side` pixels, on the CPU; unknown depth is 0.

        `difficulty` from 0 to 1 is the distance between frames and crops. All random numbers come from the generator.
        """
        pairs = [self.pair(side, generator, difficulty) for _ in range(count)]
        return ScenePair(*(torch.stack(parts) for parts in zip(*pairs, strict=True)))

    @abstractmethod
    def pair(self, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
        """One pair, without the batch dimension."""


def trusted_inverse(depth: Array, deepest: float = math.inf) -> Array:
    """1 / depth (h, w); 0 where it is unknown (0 or less), beyond `deepest`, or beside a hole or an edge."""
    around = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(depth, around), cv2.dilate(depth, around)
    trusted = (low > 0) & (high < deepest) & (high - low < EDGE * high)
    return np.divide(1, depth, out=np.zeros_like(depth), where=trusted)


def cropped(frame0: Frame, frame1: Frame, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
    """The pair of crops with the overlap nearest to a random target; without the batch dimension."""
    wished = OVERLAPS[0] + (OVERLAPS[1] - OVERLAPS[0]) * (1 - difficulty * float(torch.rand(1, generator=generator)))
    candidates = [tuple(_draw_crop(frame, generator, difficulty) for frame in (frame0, frame1)) for _ in range(CROPS)]
    judged = [_geometry((frame0, frame1), crops, JUDGED) for crops in candidates]
    rough = Geometry(*(torch.stack(parts) for parts in zip(*judged, strict=True)))
    back = torch.linalg.inv(rough.pose)
    there = shares(rough.depth0, rough.depth1, rough.intrinsics0, rough.intrinsics1, rough.pose)
    here = shares(rough.depth1, rough.depth0, rough.intrinsics1, rough.intrinsics0, back)
    overlap = (there.seen * here.seen).sqrt()
    miss = (overlap - wished).abs() + 2.0 * ((overlap < OVERLAPS[0]) | (overlap > OVERLAPS[1]))
    miss = miss + (0.5 - torch.minimum(there.known, here.known)).clamp(min=0)
    return cut((frame0, frame1), candidates[int(miss.argmin())], side)


def cut(frames: tuple[Frame, Frame], crops: tuple[Crop, ...], side: int) -> ScenePair:
    """Both crops at `side` pixels, with their cameras; without the batch dimension."""
    image0, image1 = (
        _tensor(_warp_image(frame.image, _crop_matrix(crop, side), side))
        for frame, crop in zip(frames, crops, strict=True)
    )
    return ScenePair(image0, image1, *_geometry(frames, crops, side))


def _draw_crop(frame: Frame, generator: torch.Generator, difficulty: float) -> Crop:
    """A window inside the image, mostly upright; the corners of a rotated one may lie outside."""
    share, x, y, turn, rare = torch.rand(5, generator=generator).tolist()
    height, width = frame.image.shape
    extent = min(height, width) * (1 - 0.55 * difficulty * share)
    roll = (turn - 0.5) * (np.pi if rare < 0.1 * difficulty else 0.4 * difficulty)
    return Crop(extent / 2 - 0.5 + x * (width - extent), extent / 2 - 0.5 + y * (height - extent), extent, roll)


def _geometry(frames: tuple[Frame, Frame], crops: tuple[Crop, ...], side: int) -> Geometry:
    """Depths and cameras of two crops."""
    depths, intrinsics, turned = [], [], []
    for frame, crop in zip(frames, crops, strict=True):
        to_crop = _crop_matrix(crop, side)
        to_image = _resizing(frame.inverse.shape, frame.image.shape)
        depths.append(_warp_depth(frame.inverse, to_crop @ to_image, side))
        roll = np.eye(4)
        roll[:2, :2] = to_crop[:2, :2] * (crop.extent / side)
        turned.append(roll @ np.linalg.inv(frame.pose))
        # K' = A K R^-1: the rotation of the crop becomes part of the pose, which leaves an upright K.
        camera = to_crop @ frame.intrinsics @ roll[:3, :3].T
        if abs(frame.intrinsics[0, 0] - frame.intrinsics[1, 1]) < EQUAL * frame.intrinsics[0, 0]:
            camera[0, 1] = camera[1, 0] = 0.0
        intrinsics.append(camera)
    pose = turned[1] @ np.linalg.inv(turned[0])
    return Geometry(*(_tensor(part) for part in (*depths, *intrinsics, pose)))


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


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


def _resizing(old: tuple[int, ...], new: tuple[int, ...]) -> Array:
    """(3, 3): pixels of a map of shape `old` (height, width) to those of the same view in shape `new`."""
    factors = np.array((new[1] / old[1], new[0] / old[0]))
    matrix = np.diag((*factors, 1.0))
    matrix[:2, 2] = 0.5 * factors - 0.5
    return matrix


def _warp_image(image: npt.NDArray[np.uint8], to_crop: Array, side: int) -> Array:
    """(1, side, side) in [0, 1]; reduced by area averages first to avoid aliasing."""
    scale = float(np.hypot(to_crop[0, 0], to_crop[0, 1]))
    if scale < 1:
        height, width = (max(2, round(length * scale)) for length in image.shape)
        to_crop = to_crop @ _resizing((height, width), image.shape)
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    warped = cv2.warpAffine(image, to_crop[:2], (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped[None].astype(np.float32) / 255


def _warp_depth(inverse: Array, to_crop: Array, side: int) -> Array:
    """(side, side) z-depth, bilinear in 1 / depth (exact on planes), 0 if any neighbour is unknown."""
    known = (inverse > 0).astype(np.float32)
    warped, weight = (
        cv2.warpAffine(part, to_crop[:2], (side, side), flags=cv2.INTER_LINEAR) for part in (inverse, known)
    )
    return np.where(weight > 0.999, 1 / np.maximum(warped, 1e-6), 0)
