#!/usr/bin/env bash
# Makes .venv beside pyproject.toml, with astr and what its tests need, or reuses the one that is there.
# PYTHON=... names the interpreter; otherwise the first of Python 3.10 or newer on PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

stamp=.venv/.astr-installed
wanted="$PWD $(cat pyproject.toml constraints.txt | cksum)"
if [ -x .venv/bin/astr ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && is_new_enough .venv/bin/python; then
    exit 0
fi

if ! is_new_enough .venv/bin/python; then
    interpreter=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if is_new_enough "$candidate"; then
            interpreter=$candidate
            break
        fi
    done
    if [ -z "$interpreter" ]; then
        echo "environment.sh: no Python 3.10 or newer found; set PYTHON=/path/to/python3" >&2
        exit 1
    fi
    if ! "$interpreter" -m venv --clear .venv; then
        echo "environment.sh: $interpreter cannot make a virtual environment (on Debian: apt install python3-venv)" >&2
        exit 1
    fi
fi

echo "environment.sh: installing astr into .venv"
.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
echo "$wanted" >"$stamp"
