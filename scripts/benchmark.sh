#!/usr/bin/env bash
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
extra=''
if [[ " $* " == *" --peers"[\ =]"true "* ]]; then
    extra=benchmark
fi
use_environment "$extra"
exec "$bin/python" -P -m simple_dqn benchmark "$@"
