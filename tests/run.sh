#!/usr/bin/env bash
# Sets up .venv, then lint, types and tests. Arguments go to pytest: bash tests/run.sh -m 'not slow'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/environment.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m mypy
# A process per core, each with one thread. The tests of a file stay together: they share what their fixtures make.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
.venv/bin/python -m pytest --numprocesses auto --dist loadfile "$@"
