"""A child process that reads mutated photos: `python mutation_worker.py FOLDER SEED COUNT BYTES SECONDS`.

It prints one line per photo before it starts with it, so that the parent knows which one ended it, and a line
`done READ REFUSED` at the end. Any error but ImageError ends it with a traceback.
"""

import io
import resource
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from astr_cli.images.decode import read_colour, read_nonzero
from astr_cli.images.errors import ImageError
from astr_cli.images.gimbal import view_direction
from astr_cli.images.info import read_info
from astr_cli.matching.photos.loader import load_image

FORMATS = ("AVIF", "JPEG", "PNG", "TIFF", "WEBP")


def main() -> None:
    folder, seed, count, room, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:])
    rng = np.random.default_rng(seed)
    sound = {kind: sound_photos(kind, rng) for kind in FORMATS}
    path = folder / f"photo{seed}"
    for photos in sound.values():  # libraries load what they need before memory is limited
        path.write_bytes(photos[0])
        use(path)
    limit_memory(room)
    refused = 0
    for number in range(count):
        kind = FORMATS[number % len(FORMATS)]
        photos = sound[kind]
        data = mutated(photos[int(rng.integers(len(photos)))], rng)
        print(f"{number} {kind}", flush=True)
        path.write_bytes(data)
        signal.alarm(seconds)
        refused += not use(path)
        signal.alarm(0)
    print(f"done {count - refused} {refused}", flush=True)


def limit_memory(room: int) -> None:
    """`room` more bytes than are mapped now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def use(path: Path) -> bool:
    """Whether a photo is read by everything that reads photos; False: refused, by one line."""
    try:
        info = read_info(path.parent, path.name)
        view_direction(path)
        load_image(info, (64, 64))
        read_colour(path, (64, 64))
        read_nonzero(path)
    except ImageError as error:
        if "\n" in str(error) or len(str(error)) > 500:
            raise RuntimeError(f"not one line: {error!r}") from None
        return False
    return True


def sound_photos(kind: str, rng: np.random.Generator) -> list[bytes]:
    """Small photos of a format in its usual variants, with EXIF."""
    x, y = np.meshgrid(np.arange(96), np.arange(72))
    colour = np.stack([120 + 60 * np.sin(x / 9), 120 + 60 * np.cos(y / 7), 2 * x + 0 * y], 2) + rng.normal(
        0, 8, (72, 96, 3)
    )
    image = Image.fromarray(colour.clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x010F] = "X1", 6, "Maker"
    exif.get_ifd(0x8769)[0xA405] = 28
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 9.0), 3: "E", 4: (7.0, 15.0, 3.5), 5: b"\0", 6: 88.5})
    options = {
        "AVIF": ({}, {"quality": 30}, {"subsampling": "4:4:4"}),
        "JPEG": ({}, {"progressive": True}, {"quality": 98, "subsampling": 0}),
        "PNG": ({}, {"compress_level": 0}, {"optimize": True}),
        "TIFF": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}),
        "WEBP": ({}, {"lossless": True}, {"quality": 20}),
    }[kind]
    photos = []
    for mode in ("RGB", "L"):
        for option in options:
            buffer = io.BytesIO()
            image.convert(mode).save(buffer, kind, exif=exif, **option)
            photos.append(buffer.getvalue())
    deep = (colour * 200).clip(0, 65535)
    for suffix, kinds in ((".png", ("PNG", np.uint16)), (".tif", ("TIFF", np.uint16)), (".tif", ("TIFF", np.float32))):
        if kinds[0] == kind:
            photos.append(cv2.imencode(suffix, deep.astype(kinds[1]))[1].tobytes())
    return photos


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of the ways in which files break, half of them near the start, where sizes and offsets are."""
    broken, near = bytearray(data), min(len(data), 400)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, near if rng.random() < 0.6 else len(broken)))
        way = rng.random()
        if way < 0.45:
            broken[place] ^= 1 << int(rng.integers(8))
        elif way < 0.7:
            broken[place] = int(rng.choice([0, 1, 127, 128, 255]))
        elif way < 0.85:
            broken[place : place + 4] = bytes([int(rng.choice([0, 255, 127]))]) * 4
        elif way < 0.95:
            del broken[place : place + int(rng.integers(1, 40))]
        else:
            broken[place:place] = broken[: int(rng.integers(1, 60))]
        near = min(near, len(broken))
    return bytes(broken[: int(rng.integers(1, len(broken)))] if rng.random() < 0.1 else broken)


if __name__ == "__main__":
    main()
