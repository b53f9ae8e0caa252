#!/usr/bin/env bash
# Where the time of testing goes: exploration rate 0, so that every action is predicted.
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
profile --random_steps 0 --train_steps 0 --test_steps 4000 --exploration_rate_test 0 "$@"
