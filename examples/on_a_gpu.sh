#!/usr/bin/env bash
# Everything that a few minutes on an NVIDIA GPU are good for, the most valuable first: training from the newest weights,
# the tests that need a GPU, short benchmarks. Writes small files only, for a machine that is handed back.
#
# usage: bash examples/on_a_gpu.sh PHOTOS OUT [MINUTES [STEPS]]
#   PHOTOS   photos to train on; examples/pack_photos.py makes a small folder of them
#   OUT      folder for the weights, the log and the benchmarks
#   MINUTES  of training (default 7)
#   STEPS    at most so many (for a rehearsal: 3); default: as many as fit
# INIT (default astr-small) names the weights to start from, DEVICE (default cuda) the device, PYTHON the interpreter.
# A rehearsal without a GPU: DEVICE=cpu bash examples/on_a_gpu.sh photos/ rehearsal/ 5 3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
photos=${1:?usage: on_a_gpu.sh PHOTOS OUT [MINUTES [STEPS]]}
out=${2:?usage: on_a_gpu.sh PHOTOS OUT [MINUTES [STEPS]]}
minutes=${3:-7}
steps=${4:-}
init=${INIT:-astr-small}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
astr() { "$python" -m astr_cli "$@"; }
mkdir -p "$out"

began=$("$python" -c '
import sys
from astr_cli.model.checkpoint import read_tensors
from astr_cli.resources import weights_path
print(read_tensors(weights_path(sys.argv[1]))[0]["step"])' "$init")

# 64 pairs per step, three of ten steps at 448 px. The rate stays the same: a later run decays it.
if [ "$device" = cpu ]; then batch=(--batch 2 --side 64 --set large_side=96); else batch=(--batch 64 --side 256); fi
run=$(mktemp -d)
astr train --photos "$photos" --init "$init" --out "$run/run" --steps "$((began + ${steps:-1000000}))" --minutes "$minutes" \
    --device "$device" "${batch[@]}" --rate 5e-4 --every 100 --set decay=1 --set warmup=100 --set ema=0.998 \
    --set large_share=0.3 --set hard_share=0.5 --set full_light_share=0.1 || true
cp "$run/run/"*.safetensors "$run/run/"*.csv "$out/"  # with the moments, the checkpoint would be ten times as large
rm -f "$out/checkpoint.safetensors"
rm -rf "$run"

"$python" -m pytest -q -m gpu -p no:cacheprovider tests >"$out/gpu_tests.txt" 2>&1 || true
tail -n 3 "$out/gpu_tests.txt"

if [ "$device" = cpu ]; then grid=(--grid 12x16 --limit 2); else grid=(--grid 60x80 --grid 104x104 --limit 20); fi
astr bench operator --device "$device" "${grid[@]}" --json >"$out/operator.jsonl" || true
astr bench pipeline "$photos" --device "$device" --max-images 8 --nearest 1 --sample 2 --json >"$out/pipeline.jsonl" || true
ls -l "$out"
