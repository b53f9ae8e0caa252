#!/usr/bin/env bash
# Every check, as CI runs them; options go to pytest (`scripts/check.sh -k replay`).
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
use_environment dev
cd -- "$SIMPLE_DQN_ROOT"
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
if command -v shellcheck >/dev/null; then
    shellcheck --external-sources scripts/*.sh .ci/run
else
    printf 'shellcheck is not installed: the scripts are not checked\n'
fi
"$bin/python" -P -m pytest --numprocesses logical "$@"
if (($# == 0)); then
    "$bin/python" -P -m pytest -m suite
fi
