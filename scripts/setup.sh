#!/usr/bin/env bash
# Makes a virtual environment in .venv with pinned packages and gnnpot itself; sourced by scripts/demo, docs and test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv
fi
# packages are installed again only if the requirements have changed
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "installing gnnpot and its packages into .venv"
    # torch is installed first, separately: the CPU build of the pinned release needs no CUDA packages
    .venv/bin/python -m pip install --quiet --constraint constraints.txt torch
    .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[all,docs,test]"
    echo "$wanted" > .venv/installed
fi
