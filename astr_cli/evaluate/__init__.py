"""How good matches are: pose error, precision, and the readers of folders with known truth."""

from astr_cli.evaluate.folder import EvaluateError, PosedView, PoseFolder, read_pose_folder, write_cameras
from astr_cli.evaluate.metrics import (
    PoseError,
    RelativePose,
    epipolar_errors,
    normalise,
    pose_auc,
    pose_error,
    precision,
    relative_pose,
)
from astr_cli.evaluate.pose import ESTIMATORS, Estimator, estimate_pose
from astr_cli.evaluate.run import (
    Evaluation,
    PairOutcome,
    PairResult,
    evaluate,
    evaluate_astr,
    evaluate_file,
    evaluate_pair,
    long_side_of,
    match_options,
    scratch_folder,
)

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "EvaluateError",
    "Evaluation",
    "PairOutcome",
    "PairResult",
    "PoseError",
    "PoseFolder",
    "PosedView",
    "RelativePose",
    "epipolar_errors",
    "estimate_pose",
    "evaluate",
    "evaluate_astr",
    "evaluate_file",
    "evaluate_pair",
    "long_side_of",
    "match_options",
    "normalise",
    "pose_auc",
    "pose_error",
    "precision",
    "read_pose_folder",
    "relative_pose",
    "scratch_folder",
    "write_cameras",
]
