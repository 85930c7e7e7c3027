"""Copies a folder of photos for training, as small as the trainer uses them: grey, 512 pixels, WebP.

usage: python examples/pack_photos.py PHOTOS OUT
The trainer reduces photos to that size anyway (astr_cli/train/photos.py), so nothing but file size is lost.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

LONGEST = 512  # pixels, as load_photos reduces them
QUALITY = 70


def main() -> None:
    """Packs what the command line names."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    total = count = 0
    for path in sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")):
        packed = target / path.relative_to(source).with_suffix(".webp")
        packed.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as photo:
            grey = photo.convert("L")
            grey.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            grey.save(packed, quality=QUALITY)
        total, count = total + packed.stat().st_size, count + 1
    print(f"{target}: {count} photos, {total / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
