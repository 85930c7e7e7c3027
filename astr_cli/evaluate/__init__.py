"""How good matches are: benchmarks with known truth, their readers, and the figures."""

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, Kind, Outcome, PairResult, Size, Totals
from astr_cli.evaluate.disparity_folder import DisparityFolder, DisparityResult, DisparityTotals
from astr_cli.evaluate.homography_folder import HomographyFolder, HomographyResult, HomographyTotals
from astr_cli.evaluate.metrics import (
    PoseError,
    RelativePose,
    epipolar_errors,
    error_auc,
    normalise,
    pose_auc,
    pose_error,
    precision,
    relative_pose,
)
from astr_cli.evaluate.pose import ESTIMATORS, Estimator, estimate_pose
from astr_cli.evaluate.pose_folder import PosedView, PoseFolder, PoseResult, PoseTotals
from astr_cli.evaluate.readers import find_benchmarks, read_pose_folder
from astr_cli.evaluate.run import (
    Evaluation,
    evaluate,
    evaluate_astr,
    evaluate_file,
    match_options,
    scratch_folder,
    write_cameras,
)
from astr_cli.evaluate.stored import long_side_of

__all__ = [
    "ESTIMATORS",
    "Benchmark",
    "DisparityFolder",
    "DisparityResult",
    "DisparityTotals",
    "Estimator",
    "EvaluateError",
    "Evaluation",
    "HomographyFolder",
    "HomographyResult",
    "HomographyTotals",
    "Kind",
    "Outcome",
    "PairResult",
    "PoseError",
    "PoseFolder",
    "PoseResult",
    "PoseTotals",
    "PosedView",
    "RelativePose",
    "Size",
    "Totals",
    "epipolar_errors",
    "error_auc",
    "estimate_pose",
    "evaluate",
    "evaluate_astr",
    "evaluate_file",
    "find_benchmarks",
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
