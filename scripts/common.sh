# Sourced by every script: finds or makes the Python environment and leaves its `bin` in $bin.
# Python is called with -P: no file of the current folder is taken for a module.
# shellcheck shell=bash
set -euo pipefail
unset CDPATH # with it, cd may go elsewhere and print where

SIMPLE_DQN_ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
export SIMPLE_DQN_ROOT # where roms/, snapshots/ and results/ are

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

find_python() {
    local python
    for python in python3 python python3.13 python3.12 python3.11; do
        if "$python" -P -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    fail "simple_dqn needs Python 3.11 or newer, and none was found on the PATH; install one."
}

# use_environment EXTRA: an active environment that has the package, else .venv, made on first use
# and brought up to date when pyproject.toml changed. EXTRA is '' or the name of an extra.
use_environment() {
    local extra="$1" active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" venv="$SIMPLE_DQN_ROOT/.venv" python
    if [[ -z "$extra" && -n "$active" && -x "$active/bin/simple-dqn" ]]; then
        bin="$active/bin"
        return
    fi
    bin="$venv/bin"
    # The stamp is pyproject.toml as it was installed; it is written last, so a broken-off
    # installation is done again.
    local stamp="$venv/installed${extra:+-$extra}.toml"
    cmp -s "$SIMPLE_DQN_ROOT/pyproject.toml" "$stamp" && return
    python="$(find_python)"
    printf 'Installing simple_dqn%s into .venv (once, a few minutes)\n' "${extra:+ [$extra]}" >&2
    [[ -x "$bin/python" ]] || "$python" -P -m venv "$venv" ||
        fail "Could not make a virtual environment in $venv; see the lines above."
    "$bin/python" -P -m pip install --quiet --disable-pip-version-check \
        --editable "$SIMPLE_DQN_ROOT${extra:+[$extra]}" >&2 ||
        fail "pip could not install simple_dqn into $venv; see the lines above."
    cp "$SIMPLE_DQN_ROOT/pyproject.toml" "$venv/installed.toml"
    cp "$SIMPLE_DQN_ROOT/pyproject.toml" "$stamp"
}

# profile OPTION...: one epoch of Pong under cProfile, its files in a folder that is removed.
profile() {
    use_environment ''
    SIMPLE_DQN_ROOT="$(mktemp -d)"
    trap 'rm -rf -- "${SIMPLE_DQN_ROOT:?}"' EXIT
    "$bin/python" -P -m cProfile -s tottime -m simple_dqn train pong --epochs 1 \
        --replay_size 100000 --random_seed 1 "$@"
}
