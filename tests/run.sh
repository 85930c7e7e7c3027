#!/usr/bin/env bash
# Sets up .venv, then lint, types and tests. Arguments go to pytest: bash tests/run.sh -m 'not slow'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/environment.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m mypy
.venv/bin/python -m pytest "$@"
