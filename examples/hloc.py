"""Turns astr's matches.h5 into what hloc's localisation and mapping read. Run as
    python examples/hloc.py matches.h5 FOLDER
which is `astr export matches.h5 --format hloc --out FOLDER` from Python.

FOLDER/features.h5 holds for each image `keypoints` (N, 2) float32, `scores` (N,) float32 and `image_size` (w, h).
FOLDER/matches.h5 holds for each pair `matches0` (N,) int32, the index of the partner in image1 or -1, and
`matching_scores0` (N,) float16. Keypoints come from astr's tracks, one for each image of a track, in pixels of the
original image with the centre of the top-left pixel at (0, 0), as hloc has it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.sfm.exports import ExportOptions, export_matches

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matches", type=Path, help="written by astr match")
    parser.add_argument("folder", type=Path, help="where features.h5 and matches.h5 go")
    arguments = parser.parse_args()
    try:
        export_matches(ExportOptions(arguments.matches, arguments.folder, "hloc", overwrite=True))
    except AstrError as error:
        sys.exit(f"hloc.py: {error}")
