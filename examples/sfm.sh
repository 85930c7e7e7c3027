#!/usr/bin/env bash
# From a folder of photos to a sparse COLMAP model. Copy this script and change what your project needs.
#
#   bash sfm.sh PHOTOS OUT [options of astr match, such as --long-side 1024]
#
# OUT/ gets pairs.txt, matches.h5, database.db and sparse/0, sparse/1, ...: one model, or several where photos do not connect.
# Needs `astr` and its `python` on PATH: activate the environment first. Run again after an interruption, it goes on.
set -euo pipefail
photos=${1:?usage: sfm.sh PHOTOS OUT [options of astr match]}
out=${2:?usage: sfm.sh PHOTOS OUT [options of astr match]}
shift 2
mkdir -p "$out"

# 1. Pairs: every photo with every other one. For video take `sequential`, for more than some 60 photos `spatial` (with
#    GPS) or `retrieval`.
astr pairs exhaustive "$photos" --out "$out/pairs.txt" --overwrite --quiet

# 2. Matches. What is already there is not computed again; pairs of photos that are gone are dropped.
astr match "$out/pairs.txt" --images "$photos" --out "$out/matches.h5" --prune "$@"

# 3. Tracks, cameras and verified matches in a COLMAP database.
rm -f "$out/database.db"
astr colmap-import "$out/database.db" --matches "$out/matches.h5" --images "$photos" --quiet

# 4. Camera poses and points. With COLMAP itself instead:
#    colmap mapper --database_path "$out/database.db" --image_path "$photos" --output_path "$out/sparse"
mkdir -p "$out/sparse"
model=$(python - "$out/database.db" "$photos" "$out/sparse" <<'MAPPING'
import sys
import pycolmap

pycolmap.logging.minloglevel = 1  # warnings; 0 shows how COLMAP gets on
models = pycolmap.incremental_mapping(*sys.argv[1:])
if not models:
    sys.exit("no model: too few photos overlap")
for index, model in models.items():
    print(f"{sys.argv[3]}/{index}: {model.num_reg_images()} photos, {model.num_points3D()} points,",
          f"{model.compute_mean_reprojection_error():.2f} px", file=sys.stderr)
largest = max(models, key=lambda index: models[index].num_reg_images())
print(f"{sys.argv[3]}/{largest}")
MAPPING
)

# 5. What to run next, for a dense cloud. PatchMatch needs a COLMAP with CUDA.
cat <<NEXT
next: colmap image_undistorter --image_path "$photos" --input_path "$model" --output_path "$out/dense"
      colmap patch_match_stereo --workspace_path "$out/dense"
      colmap stereo_fusion --workspace_path "$out/dense" --output_path "$out/dense/fused.ply"
NEXT
