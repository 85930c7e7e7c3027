"""Real RGB-D sequences as training pairs: only frames close in time, and no depth next to depth edges.

A sequence is a folder with frames.json (convention, K, size, poses by frame name), images/NAME.webp and depth/NAME.png
(millimetres, at half the image size, 0 = none). Colour and depth are misaligned by a pixel or two: good enough for
coarse labels, but not for sub-pixel ones.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.files import parse_json
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.lifted import Sheets
from astr_cli.train.frames import Array, Frame, RecordedSet, cropped, trusted_inverse

Image = npt.NDArray[np.uint8]
AROUND = np.ones((3, 3), np.uint8)

# Largest difference of frame numbers, from the notes in the frames.json of the sequences; 3 for other sequences.
GAP_LIMITS = {"redkitchen": 20, "hololens": 3}
OTHER_GAP_LIMIT = 3
DEEPEST = 6.0  # metres; beyond this the noise of the sensor exceeds one percent
AGREEMENT = 0.7  # smallest share of shared points with equal depths; less means bad poses or moving objects
AGREED = 0.03  # relative
SMOOTHED = 7  # pixels of the depth map
SMOOTHING = 0.03  # metres; larger steps of the depth stay as they are
TRIES = 4  # pairs of frames tried for one pair of the batch


@dataclass(frozen=True)
class Sequence:
    """One recording; its files stay compressed in memory."""

    name: str
    intrinsics: Array  # (3, 3) of the images
    numbers: tuple[int, ...]  # numbers of the frames, rising
    images: tuple[bytes, ...]
    depths: tuple[bytes, ...]
    poses: Array  # (F, 4, 4) camera to world, metres

    def gap_limit(self) -> int:
        """Largest difference of frame numbers with reliable relative poses."""
        return GAP_LIMITS.get(self.name, OTHER_GAP_LIMIT)


@dataclass(frozen=True)
class RgbdSet(RecordedSet):
    """All sequences below a folder."""

    sequences: tuple[Sequence, ...]

    def pair(self, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
        """One pair, without the batch dimension."""
        for _ in range(TRIES):
            frames = self._frames(generator, difficulty)
            if agreement(*frames) >= AGREEMENT:
                break
        return cropped(*frames, side, generator, difficulty)

    def _frames(self, generator: torch.Generator, difficulty: float) -> tuple[Frame, Frame]:
        sequence = self._sequence(generator)
        first = int(torch.randint(len(sequence.numbers), (1,), generator=generator))
        limit = max(1.0, sequence.gap_limit() * (0.3 + 0.7 * difficulty))
        near = [k for k, n in enumerate(sequence.numbers) if 0 < abs(n - sequence.numbers[first]) <= limit]
        second = near[int(torch.randint(len(near), (1,), generator=generator))] if near else first
        return _decode(sequence, first), _decode(sequence, second)

    def sheets(self, count: int, generator: torch.Generator) -> Sheets:
        """`count` random frames of one sequence, whose photos have one size, lifted."""
        sequence = self._sequence(generator)
        rows = torch.randint(len(sequence.numbers), (count,), generator=generator).tolist()
        lifted = [lift(*_decode_files(sequence, row), sequence.intrinsics) for row in rows]
        return Sheets(*(torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*lifted, strict=True)))

    def _sequence(self, generator: torch.Generator) -> Sequence:
        sizes = torch.tensor([float(len(sequence.numbers)) for sequence in self.sequences])
        return self.sequences[int(torch.multinomial(sizes, 1, generator=generator))]


def lift(image: Image, depth: Array, intrinsics: Array) -> tuple[Array, Array, Image, Array]:
    """The parts of `Sheets` for a frame with depth in metres, 0 = none.

    Holes take the depth of the nearest pixel, and noise is smoothed.
    """
    trusted = trusted_inverse(depth, DEEPEST) > 0
    if not trusted.any():
        trusted = np.ones_like(trusted)
        depth = np.ones_like(depth)
    _, labels = cv2.distanceTransformWithLabels(
        (~trusted).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    filled = np.zeros(int(labels.max()) + 1, np.float32)
    filled[labels[trusted]] = depth[trusted]
    smooth = cv2.bilateralFilter(filled[labels], SMOOTHED, SMOOTHING, SMOOTHED)
    # An edge in the filled map is a wall, and so is what lies within a pixel of it.
    surface = np.asarray(cv2.erode((trusted & (trusted_inverse(smooth) > 0)).astype(np.uint8), AROUND), np.uint8)
    return image[None] / np.float32(255), 1 / np.asarray(smooth, np.float32)[None], surface[None], intrinsics


def load_rgbd(root: Path) -> RgbdSet:
    """Read all sequences below `root`. Raises AstrError if there is none or one is faulty."""
    files = sorted(root.glob("*/frames.json"))
    if not files:
        raise AstrError(f"{root}: contains no */frames.json; give the folder of the RGB-D sequences")
    return RgbdSet(tuple(_load_sequence(path) for path in files))


def _load_sequence(path: Path) -> Sequence:
    folder = path.parent
    try:
        content = parse_json(path.read_bytes())
        names = sorted(content["frames"], key=int)
        intrinsics = np.array(content["K"], dtype=np.float64).reshape(3, 3)
        poses = np.array([content["frames"][name] for name in names], dtype=np.float64).reshape(-1, 4, 4)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise AstrError(f"{path}: not the index of an RGB-D sequence ({error}); see its convention") from None
    if len(names) < 2 or not np.isfinite(poses).all():
        raise AstrError(f"{path}: has fewer than two frames, or a pose that is not finite")
    images = tuple(_read(folder / "images" / f"{name}.webp") for name in names)
    depths = tuple(_read(folder / "depth" / f"{name}.png") for name in names)
    return Sequence(folder.name, intrinsics, tuple(int(name) for name in names), images, depths, poses)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AstrError(f"{path}: cannot be read ({error.strerror}), but frames.json names it") from None


def _decode(sequence: Sequence, index: int) -> Frame:
    image, depth = _decode_files(sequence, index)
    inverse = trusted_inverse(depth, DEEPEST)  # colour is misaligned by a pixel: no depth at edges
    return Frame(image, inverse, sequence.intrinsics, sequence.poses[index])


def _decode_files(sequence: Sequence, index: int) -> tuple[Image, Array]:
    """Grey image, and depth in metres."""
    image = cv2.imdecode(np.frombuffer(sequence.images[index], np.uint8), cv2.IMREAD_GRAYSCALE)
    depth = cv2.imdecode(np.frombuffer(sequence.depths[index], np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or depth is None or depth.ndim != 2:
        name = f"{sequence.name}, frame {sequence.numbers[index]}"
        raise AstrError(f"{name}: its image or depth is damaged; delete the frame from frames.json")
    return np.asarray(image, np.uint8), depth.astype(np.float32) / 1000


def agreement(frame0: Frame, frame1: Frame) -> float:
    """Share of the points of both frames that the other one sees at the same depth; 0 if they share few points."""
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
