"""Photos of the simulated flights of tests/sfm/flights.py: a relief with a texture, seen through any lens of COLMAP.

The photos have focal length and GPS in EXIF, and angles and height in XMP, as those of a drone.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from scipy.ndimage import gaussian_filter

from astr_cli.scenes.texturing import Pyramid, build_pyramid, sample
from astr_cli.sfm.colmap import pycolmap

__all__ = ["CHECKS", "Flight", "Kind", "check_errors", "fly", "write_flight"]

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "sfm"))
from flights import CHECKS, HEIGHT, ORIGIN, RELIEF, SIZE, Flight, Kind, check_errors, fly, ground

SIDE = 128.0  # metres of the ground that the texture covers before it repeats
TEXELS = 4096
SCALES = (1.0, 2.5, 6.0, 15.0)  # texels of the patterns, all equally strong
GRAZING = 0.15  # rays that fall less than this, by their length, end in haze
HAZE = 0.8
STEPS, TURNS = 12, 4  # through the relief, then of Newton's method
AHEAD = 0.1  # metres, for its slopes
NOISE = 0.008  # of the grey values
MILLIMETRES = 10.0  # the focal length, as EXIF has it


def ground_texture(seed: int = 3) -> Pyramid:
    """Grey values of the ground in [0, 1], which repeat every SIDE metres."""
    rough = np.random.default_rng(seed).normal(size=(TEXELS, TEXELS)).astype(np.float32)
    whole = sum(gaussian_filter(rough, scale, mode="wrap") * scale for scale in SCALES)
    grey = np.clip(0.5 + 0.2 * whole / whole.std(), 0, 1)
    return build_pyramid(torch.from_numpy(np.asarray(grey, np.float32))[None, None])


def lens(flight: Flight) -> pycolmap.Camera:
    """The true camera of a flight."""
    middle, radial = [SIZE[0] / 2, SIZE[1] / 2], flight.distortion
    params = {
        "SIMPLE_RADIAL": [flight.focal, *middle, radial],
        "OPENCV": [flight.focal, flight.focal, *middle, radial, flight.second, *flight.tangential],
        "OPENCV_FISHEYE": [flight.focal, flight.focal, *middle, radial, 0.0, 0.0, 0.0],
    }
    return pycolmap.Camera(model=flight.model, width=SIZE[0], height=SIZE[1], params=params[flight.model])


def first_ground(centre: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) east and north of where (N, 3) rays of length 1 first meet the relief, and (N,) whether they do."""
    falling = np.minimum(rays[:, 2], -GRAZING)
    near, far = ((centre[2] - level) / -falling for level in (RELIEF / 2, -RELIEF / 2))
    step = (far - near) / STEPS
    way, above = near.copy(), np.ones(len(rays), bool)
    for _ in range(STEPS):
        above &= height_over_ground(centre, rays, falling, way + step) > 0
        way += step * above
    for _ in range(TURNS):
        now, later = (height_over_ground(centre, rays, falling, way + ahead) for ahead in (0.0, AHEAD))
        way += np.clip(now * AHEAD / np.maximum(now - later, 1e-4), -step, step)
    return centre[:2] + way[:, None] * rays[:, :2], rays[:, 2] < -GRAZING


def height_over_ground(centre: np.ndarray, rays: np.ndarray, falling: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(N,) metres by which the point `way` along each ray is above the relief."""
    return np.asarray(centre[2] + way * falling - ground(centre[0] + way * rays[:, 0], centre[1] + way * rays[:, 1]))


def photo(flight: Flight, number: int, camera: pycolmap.Camera, texture: Pyramid) -> Image.Image:
    """What the camera sees, with a little noise."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)  # COLMAP's pixels
    flat = camera.cam_from_img(np.column_stack([x.ravel(), y.ravel()]))
    rays = np.column_stack([flat, np.ones(len(flat))]) @ flight.rotations[number]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    # Single precision is 0.01 mm here, and several times faster.
    places, hit = first_ground(flight.centres[number].astype(np.float32), rays.astype(np.float32))
    u, v = (torch.from_numpy((part / SIDE % 1.0).reshape(1, *y.shape)).float() for part in places.T)
    grey = np.where(hit.reshape(y.shape), sample(texture, u, v)[0, 0].numpy(), HAZE)
    noisy = grey + np.random.default_rng(number).normal(0, NOISE, grey.shape)
    return Image.fromarray(np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8))


def exif(flight: Flight, number: int) -> Image.Exif:
    """Camera, focal length and the measured position."""
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "astr", "flight"
    details = tags.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.FocalLength] = MILLIMETRES
    details[ExifTags.Base.FocalPlaneXResolution] = flight.prior / MILLIMETRES
    details[ExifTags.Base.FocalPlaneResolutionUnit] = 4  # millimetres
    latitude, longitude, altitude = pycolmap.GPSTransform().enu_to_ellipsoid(flight.gps[number][None], *ORIGIN)[0]
    place = tags.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLongitudeRef] = "N", "E"
    place[ExifTags.GPS.GPSLatitude], place[ExifTags.GPS.GPSLongitude] = sexagesimal(latitude), sexagesimal(longitude)
    place[ExifTags.GPS.GPSAltitude] = IFDRational(round(altitude * 1000), 1000)
    return tags


def sexagesimal(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Degrees, minutes and seconds of a positive angle, to 0.03 mm on the ground."""
    minutes, seconds = divmod(round(degrees * 3600 * 10**6), 60 * 10**6)
    return IFDRational(minutes // 60, 1), IFDRational(minutes % 60, 1), IFDRational(seconds, 10**6)


def xmp(flight: Flight, number: int) -> bytes:
    """The gimbal's angles and the height above the take-off, as DJI writes them."""
    east, north, up = flight.rotations[number][2]
    if math.hypot(east, north) < 0.2:  # looks down: the yaw is that of the photo's upper edge
        east, north = -flight.rotations[number][1][:2]
    angles = f'GimbalPitchDegree="{math.degrees(math.asin(up)):+.2f}" drone-dji:GimbalYawDegree="'
    text = f'<a drone-dji:{angles}{math.degrees(math.atan2(east, north)):+.2f}" drone-dji:RelativeAltitude="'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{text}{HEIGHT:+.2f}"/></x:xmpmeta>'.encode()


def write_flight(flight: Flight, folder: Path, texture: Pyramid | None = None) -> Path:
    """Renders the photos of a flight into a folder, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = lens(flight)
    missing = [number for number, name in enumerate(flight.names) if not (folder / name).exists()]
    texture = texture or (ground_texture() if missing else None)
    for number in missing:
        if texture is not None:
            image = photo(flight, number, camera, texture)
            tags = {"exif": exif(flight, number), "xmp": xmp(flight, number)}
            image.save(folder / flight.names[number], "JPEG", quality=95, **tags)
    return folder
