"""Which known camera took which photo: one rule for matching and for databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from astr_cli.images.info import plausible_focal
from astr_cli.store.camera_models import MODELS
from astr_cli.store.cameras import Camera, CameraBook, CamerasError
from astr_cli.wording import counted

Size = tuple[int, int]  # (width, height) in raw pixels


class KnownCameras(NamedTuple):
    """The cameras of photos."""

    cameras: dict[str, Camera]
    """By name of the photo, at its size; the other photos have none."""
    notes: tuple[str, ...]
    """What a user should know of that, one line each."""


def known_cameras(book: CameraBook, sizes: Mapping[str, Size]) -> KnownCameras:
    """The camera of each photo, from its name, else from its size.

    A camera of another size is scaled if it has the photo's shape: one that the file gives by name, or one that alone
    has this shape where no photo has the size of a camera. A camera whose focal length cannot be is unknown.

    Raises CamerasError: no camera fits any photo, several fit one, or the camera of a name has another shape.
    """
    given = {name: book.for_image(name, *size) for name, size in sizes.items()}
    if book.names is None and not any(given.values()):
        given = {name: _of_shape(book, size) for name, size in sizes.items()}
    fitting = {name: camera for name, camera in given.items() if camera is not None}
    for name, camera in fitting.items():
        if not same_shape(camera_size(camera), sizes[name]):
            width, height = sizes[name]
            raise CamerasError(
                f"{book.source}: camera {camera.camera_id} of {name} is {camera.width}x{camera.height}, but the photo "
                f"is {width}x{height}, which is another shape; use the photos that the camera was calibrated with"
            )
    if sizes and not fitting:
        raise CamerasError(f"{book.source}: has no camera for any of the photos; names or sizes must agree")
    odd = {name: camera for name, camera in fitting.items() if not _plausible(camera)}
    scaled = {name: camera for name, camera in fitting.items() if camera_size(camera) != sizes[name]}
    good = {name: scaled_camera(camera, sizes[name]) for name, camera in fitting.items() if name not in odd}
    return KnownCameras(good, tuple(_notes(book, sizes, odd, scaled)))


def camera_size(camera: Camera) -> Size:
    """(width, height) of the photos of a camera."""
    return camera.width, camera.height


def same_shape(first: Size, second: Size) -> bool:
    """Whether one size is the other one scaled, up to the rounding of the smaller one to whole pixels."""
    (width, height), (large, high) = sorted((first, second))
    return abs(width * high / large - height) <= 1


def scaled_camera(camera: Camera, size: Size) -> Camera:
    """The camera of the same photos resized to `size`. Distortion does not change with size.

    COLMAP's principal points, counted from the pixel's corner, scale as focal lengths do.
    """
    if camera_size(camera) == size:
        return camera
    across, down = size[0] / camera.width, size[1] / camera.height
    focals = MODELS[camera.model].focals
    factors = [across, down][:focals] + [across, down]
    if not focals:  # a panorama: its parameters are its size
        factors = [across, down]
    params = [value * factor for value, factor in zip(camera.params, factors, strict=False)]
    params += camera.params[len(factors) :]
    return replace(camera, width=size[0], height=size[1], params=tuple(params))


def _of_shape(book: CameraBook, size: Size) -> Camera | None:
    fitting = [camera for camera in book.cameras.values() if same_shape(camera_size(camera), size)]
    return fitting[0] if len(fitting) == 1 else None


def _plausible(camera: Camera) -> bool:
    focals = camera.params[: MODELS[camera.model].focals]
    return all(plausible_focal(focal, camera.width, camera.height) for focal in focals)


def _notes(
    book: CameraBook, sizes: Mapping[str, Size], odd: Mapping[str, Camera], scaled: Mapping[str, Camera]
) -> Iterator[str]:
    for camera in dict.fromkeys(odd.values()):
        yield (
            f"{book.source}: camera {camera.camera_id}: a focal length of {camera.params[0]:.4g} pixels cannot be for "
            f"photos of {camera.width}x{camera.height}; give it in pixels, not as a share of the size; astr treats it "
            "as unknown"
        )
    left = [name for name in scaled if name not in odd]
    if left:
        first, size = scaled[left[0]], sizes[left[0]]
        yield (
            f"{book.source}: camera {first.camera_id} is {first.width}x{first.height}; astr scales it to the size of "
            f"the photos, for example {left[0]} ({size[0]}x{size[1]}; {counted(len(left), 'photo')} in all)"
        )
