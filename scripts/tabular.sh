#!/usr/bin/env bash
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
use_environment ''
exec "$bin/python" -m simple_dqn tabular "$@"
