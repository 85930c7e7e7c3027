#!/usr/bin/env bash
# The tests of sfm on several versions of pycolmap, each installed beside .venv and put before it on the path. Prints a line
# for each, which is kept in tests/matrix.log; exits with 1 when one fails.
#   bash tests/matrix.sh [VERSION ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/environment.sh
versions=("$@")
[ $# -gt 0 ] || versions=(3.12.6 4.1.1 4.2.1)
failed=0
for version in "${versions[@]}"; do
    folder=runs/matrix/$version
    if [ ! -d "$folder/pycolmap" ]; then
        .venv/bin/python -m pip install --quiet --no-deps --target "$folder" "pycolmap==$version"
    fi
    export PYTHONPATH="$PWD/$folder"
    if [ "$(printf '%s\n' 4.2 "$version" | sort -V | head -n 1)" != 4.2 ]; then
        # Too old: one line that says so, and nothing else.
        said=$(.venv/bin/python -m astr_cli colmap-import "$folder/none.db" 2>&1) && code=0 || code=$?
        case $code:$said in
            "2:astr: pycolmap $version is too old;"*) echo "pycolmap $version: refused, \"$said\"" ;;
            *) echo "pycolmap $version: FAILED, exit code $code, \"$said\"" && failed=1 ;;
        esac
    else
        said=$(.venv/bin/python -m pytest tests/sfm -q -m 'not slow' -p no:cacheprovider 2>&1) && code=0 || code=$?
        found=$(.venv/bin/python -c 'import pycolmap; print(pycolmap.__version__)')
        echo "pycolmap $found: $(tail -n 1 <<<"$said")"
        if [ "$code" -ne 0 ]; then
            grep -E '^(FAILED|ERROR)' <<<"$said" || true
            failed=1
        fi
    fi
    unset PYTHONPATH
done
exit "$failed"
