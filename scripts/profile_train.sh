#!/usr/bin/env bash
# Where the time of training goes: exploration rate 1, so that nothing is predicted.
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
profile --random_steps 1000 --train_steps 2000 --test_steps 0 \
    --exploration_rate_start 1 --exploration_rate_end 1 "$@"
