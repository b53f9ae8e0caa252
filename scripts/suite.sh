#!/usr/bin/env bash
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
use_environment suite
exec "$bin/python" -P -m simple_dqn suite "$@"
