#!/usr/bin/env bash
# See astr work, with nothing but Python 3.10 or newer: renders photos of a courtyard, matches them, makes a COLMAP model and
# compares its cameras with the true ones. Everything goes to runs/quickstart. Exits with 1 if a camera is off by over 2 degrees.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/environment.sh
PATH="$PWD/.venv/bin:$PATH"
work=runs/quickstart
rm -rf "$work"

echo "== photos"
python examples/quickstart_scene.py "$work"

echo "== astr match"
astr match "$work/pairs.txt" --images "$work/images" --out "$work/matches.h5"

echo "== astr colmap-import"
astr colmap-import "$work/database.db" --matches "$work/matches.h5" --images "$work/images"

echo "== model"
python examples/quickstart_check.py "$work"
