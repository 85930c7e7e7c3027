"""COLMAP's camera models, as far as a focal length and a principal point are concerned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CameraModel(NamedTuple):
    """One of COLMAP's models. Parameters begin with 1 or 2 focal lengths, then cx, cy, then the distortion."""

    number: int  # in binary files and databases
    focals: int  # 1, 2; 0 = no pinhole at all (a panorama)
    params: int


MODELS: Mapping[str, CameraModel] = MappingProxyType(
    {
        "SIMPLE_PINHOLE": CameraModel(0, 1, 3),
        "PINHOLE": CameraModel(1, 2, 4),
        "SIMPLE_RADIAL": CameraModel(2, 1, 4),
        "RADIAL": CameraModel(3, 1, 5),
        "OPENCV": CameraModel(4, 2, 8),
        "OPENCV_FISHEYE": CameraModel(5, 2, 8),
        "FULL_OPENCV": CameraModel(6, 2, 12),
        "FOV": CameraModel(7, 2, 5),
        "SIMPLE_RADIAL_FISHEYE": CameraModel(8, 1, 4),
        "RADIAL_FISHEYE": CameraModel(9, 1, 5),
        "THIN_PRISM_FISHEYE": CameraModel(10, 2, 12),
        "RAD_TAN_THIN_PRISM_FISHEYE": CameraModel(11, 2, 16),
        "SIMPLE_DIVISION": CameraModel(12, 1, 4),
        "DIVISION": CameraModel(13, 2, 5),
        "SIMPLE_FISHEYE": CameraModel(14, 1, 3),
        "FISHEYE": CameraModel(15, 2, 4),
        "EUCM": CameraModel(16, 2, 6),
        "EQUIRECTANGULAR": CameraModel(17, 0, 2),
    }
)


@dataclass(frozen=True)
class Camera:
    """A camera as COLMAP writes it: `params` are in COLMAP's convention (centre of the first pixel at (0.5, 0.5))."""

    model: str  # a key of MODELS
    width: int  # raw pixels
    height: int
    params: tuple[float, ...]
    camera_id: int = 1

    def matrix(self) -> NDArray[np.float64] | None:
        """The 3x3 matrix in astr's convention: COLMAP's principal point minus 0.5, without distortion.

        None for a model without focal length (EQUIRECTANGULAR).
        """
        focals = MODELS[self.model].focals
        if not focals:
            return None
        fx, fy = self.params[0], self.params[focals - 1]
        cx, cy = self.params[focals : focals + 2]
        return np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]], np.float64)


def problem_of_camera(model: str, width: int, height: int, params: tuple[float, ...]) -> str | None:
    """The problem with a camera that was read, or None."""
    if model not in MODELS:
        return f"unknown camera model {model}; choose one of {', '.join(MODELS)}"
    if width < 1 or height < 1:
        return f"image size {width}x{height} is not positive"
    needed = MODELS[model].params
    if len(params) != needed:
        return f"{model} takes {needed} parameters, found {len(params)}"
    if not all(math.isfinite(value) for value in params):
        return "parameters are not finite"
    if not all(value > 0 for value in params[: MODELS[model].focals]):
        return "the focal length is not positive"
    return None
