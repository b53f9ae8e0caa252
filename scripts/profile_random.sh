#!/usr/bin/env bash
# Where the time of random play goes: emulators and replay memory, no network.
# shellcheck source=scripts/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
profile --random_steps 10000 --train_steps 0 --test_steps 0 "$@"
