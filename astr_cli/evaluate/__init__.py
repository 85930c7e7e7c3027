"""How good matches are: benchmarks with known truth, their readers, and the figures."""

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, Kind, PairOutcome, PairResult, Size, Totals
from astr_cli.evaluate.comparison import Change, Comparison, Rival, compare, find_rival, stored_scores, unlike
from astr_cli.evaluate.disparity_folder import DisparityFolder, DisparityResult, DisparityTotals
from astr_cli.evaluate.homography_folder import HomographyFolder, HomographyResult, HomographyTotals
from astr_cli.evaluate.metrics import (
    PoseAngles,
    RelativePose,
    error_auc,
    normalise,
    pose_auc,
    pose_error,
    precision,
    relative_pose,
    symmetric_epipolar_errors,
)
from astr_cli.evaluate.pose import ESTIMATORS, Estimator, estimate_pose, installed_estimators
from astr_cli.evaluate.pose_folder import PosedView, PoseFolder, PoseResult, PoseTotals, with_ransac_px
from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.evaluate.records import Scores, pair_records, read_scores, scores_of, total_records
from astr_cli.evaluate.run import (
    Evaluation,
    evaluate,
    evaluate_astr,
    evaluate_file,
    match_options,
    scratch_folder,
    write_cameras,
)
from astr_cli.evaluate.stored_matches import long_side_of

__all__ = [
    "ESTIMATORS",
    "Benchmark",
    "Change",
    "Comparison",
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
    "PairOutcome",
    "PairResult",
    "PoseAngles",
    "PoseFolder",
    "PoseResult",
    "PoseTotals",
    "PosedView",
    "RelativePose",
    "Rival",
    "Scores",
    "Size",
    "Totals",
    "compare",
    "symmetric_epipolar_errors",
    "error_auc",
    "estimate_pose",
    "evaluate",
    "evaluate_astr",
    "evaluate_file",
    "find_benchmarks",
    "find_rival",
    "installed_estimators",
    "long_side_of",
    "match_options",
    "normalise",
    "pair_records",
    "pose_auc",
    "pose_error",
    "precision",
    "read_pose_folder",
    "read_scores",
    "relative_pose",
    "scores_of",
    "scratch_folder",
    "stored_scores",
    "total_records",
    "unlike",
    "with_ransac_px",
    "write_cameras",
]
