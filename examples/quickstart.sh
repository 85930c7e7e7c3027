#!/usr/bin/env bash
# See astr work, with nothing but Python 3.10 or newer: renders photos of a courtyard, makes a COLMAP model of them with sfm.sh,
# and compares its cameras with the true ones. Everything goes to runs/quickstart. Exits with 1 if one is off by over 2 degrees.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/environment.sh
PATH="$PWD/.venv/bin:$PATH"
work=runs/quickstart
rm -rf "$work"

echo "== photos"
python examples/quickstart_scene.py "$work"

echo "== examples/sfm.sh: match, import, map"
bash examples/sfm.sh "$work/images" "$work"

echo "== check"
python examples/check_model.py "$work" "$work/sparse/0" --limit 2
