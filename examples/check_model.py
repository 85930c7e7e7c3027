"""How far the cameras of a COLMAP model are from true ones. Run as
    python examples/check_model.py TRUTH MODEL [--limit 2]

TRUTH is a folder with gt.json and pairs.txt, as for `astr eval`; MODEL a folder such as sparse/0. The pose error of two
photos is the larger of the angles by which the estimated rotation and direction between them are off; the error of
the camera centres is the largest distance after similarity alignment over the largest distance of two true centres.
Exits with 1 when a photo is missing, or when two photos are off by more than --limit degrees.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.evaluate.metrics import RelativePose, pose_error, relative_pose
from astr_cli.evaluate.pose_folder import PoseFolder
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.mapping.alignment import centre_error


def main(truth: PoseFolder, model: Path, limit: float) -> int:
    """Prints what the model holds and how far it is off; the exit code."""
    loaded = pycolmap.Reconstruction(model)
    poses = estimated_poses(loaded)
    print(
        f"{model}: {len(poses)} of {len(truth.views)} photos, {loaded.num_points3D()} points, "
        f"mean track {loaded.compute_mean_track_length():.2f} photos, "
        f"reprojection error {loaded.compute_mean_reprojection_error():.2f} px"
    )
    missing = sorted(truth.views.keys() - poses.keys())
    if missing or len(poses) < 3:
        print(f"FAILED: not in the model: {', '.join(missing)}")
        return 1
    true_poses = {name: RelativePose(view.rotation, view.translation) for name, view in truth.views.items()}
    names = sorted(true_poses)
    centres = centre_error(*(np.array([centre(found[name]) for name in names]) for found in (poses, true_poses)))
    worst = max(
        pose_error(between(poses, pair), truth.truth(*pair)).largest for pair in itertools.combinations(names, 2)
    )
    print(f"camera centres off by at most {100 * centres:.3f}% of the largest distance of two of them")
    print(f"{'ok' if worst <= limit else 'FAILED'}: largest pose error {worst:.3f} degrees (limit {limit:g})")
    return int(worst > limit)


def estimated_poses(model: pycolmap.Reconstruction) -> dict[str, RelativePose]:
    """World-to-camera pose of each photo in the model."""
    images = [model.image(number) for number in model.reg_image_ids()]
    matrices = {image.name: image.cam_from_world().matrix() for image in images}
    return {name: RelativePose(matrix[:, :3], matrix[:, 3]) for name, matrix in matrices.items()}


def centre(pose: RelativePose) -> np.ndarray:
    """(3,) where the camera stands."""
    return -pose.rotation.T @ pose.translation


def between(poses: dict[str, RelativePose], pair: tuple[str, str]) -> RelativePose:
    """Pose of the second photo of a pair as seen from the first."""
    first, second = poses[pair[0]], poses[pair[1]]
    return relative_pose(first.rotation, first.translation, second.rotation, second.translation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, help="folder with gt.json and pairs.txt")
    parser.add_argument("model", type=Path, help="folder of a COLMAP model")
    parser.add_argument("--limit", type=float, default=2.0, help="degrees (default 2)")
    arguments = parser.parse_args()
    try:
        sys.exit(main(read_pose_folder(arguments.truth), arguments.model, arguments.limit))
    except (AstrError, ValueError) as error:
        sys.exit(f"check_model.py: {error}")
