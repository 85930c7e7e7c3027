"""Maps FOLDER/database.db into FOLDER/sparse and compares the cameras with FOLDER/gt.json. Run as
    python examples/quickstart_check.py FOLDER

The pose error of two photos is the larger of the angles by which the estimated rotation and direction between them
are off. Exits with 1 unless every photo is in the model and no two of them are off by more than 2 degrees.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.evaluate import read_pose_folder
from astr_cli.evaluate.metrics import RelativePose, pose_error, relative_pose
from astr_cli.sfm import ModelSummary, map_database
from astr_cli.sfm.colmap import pycolmap

LIMIT = 2.0  # degrees


def main(folder: Path) -> int:
    """Prints what the model holds and how far its cameras are off; 0 if that is good enough, else 1."""
    (folder / "sparse").mkdir(exist_ok=True)
    try:
        truth = read_pose_folder(folder)
        summary = map_database(folder / "database.db", truth.images, folder / "sparse")
    except AstrError as error:
        print(f"FAILED: {error}")
        return 1
    print(
        f"{summary.folder}: {len(summary.registered)} of {summary.images} photos, {summary.points} points, "
        f"mean track {summary.mean_track:.1f} photos, reprojection error {summary.reprojection_error:.2f} px"
    )
    poses = estimated_poses(summary)
    errors = [
        pose_error(relative(poses, pair), truth.truth(*pair)).largest
        for pair in itertools.combinations(sorted(poses), 2)
    ]
    if len(poses) < len(truth.views) or not errors:
        print(f"FAILED: {len(truth.views) - len(poses)} of {len(truth.views)} photos are not in the model")
        return 1
    verdict = "ok" if max(errors) <= LIMIT else "FAILED"
    print(f"{verdict}: largest pose error of {len(errors)} pairs {max(errors):.3f} degrees (limit {LIMIT:g})")
    return int(max(errors) > LIMIT)


def estimated_poses(summary: ModelSummary) -> dict[str, RelativePose]:
    """World-to-camera pose of each photo in the model."""
    model = pycolmap.Reconstruction(summary.folder)
    poses = {}
    for number in model.reg_image_ids():
        matrix = model.image(number).cam_from_world().matrix()
        poses[model.image(number).name] = RelativePose(matrix[:, :3], matrix[:, 3])
    return poses


def relative(poses: dict[str, RelativePose], pair: tuple[str, str]) -> RelativePose:
    """Pose of the second photo of a pair as seen from the first."""
    first, second = poses[pair[0]], poses[pair[1]]
    return relative_pose(first.rotation, first.translation, second.rotation, second.translation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
