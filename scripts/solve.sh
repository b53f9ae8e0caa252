#!/usr/bin/env bash
# For machines lent by the slice: train or go on training for some minutes, test the best snapshot
# over 30 games of its own, plot, and pack all that the next slice or a reader needs into one file.
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
if [[ $# -lt 3 || ! "$1" =~ ^[0-9]+([.][0-9]+)?$ || "$2" == -* || "$3" == -* ]]; then
    fail 'usage: scripts/solve.sh MINUTES GAME LABEL [OPTION...]   (options as for train.sh)'
fi
minutes="$1" game="$2" label="$3"
shift 3
use_environment ''
cd "$SIMPLE_DQN_ROOT"
mkdir -p snapshots results

# best_epoch CSV: the epoch whose test had the highest mean; the later one of equals.
best_epoch() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $column["phase"] == "test" && $column["average_reward"] != "" &&
            (!found || $column["average_reward"] + 0 >= best) {
            found = 1; best = $column["average_reward"] + 0; epoch = $column["epoch"]
        }
        END { if (found) print epoch }' "$1"
}

name="${game}_${label}" status=0
last="$(find snapshots -name "${name}_[0-9]*.training.safetensors" | sort -V | tail -n 1)"
command=(train "$game" "$label")
[[ -z "$last" ]] || command=(resume "${last%.training.safetensors}.safetensors")
timeout --signal=TERM --kill-after=60 "${minutes}m" \
    "$bin/python" -m simple_dqn "${command[@]}" "$@" || status=$?
case "$status" in
0 | 124) ;; # done, or stopped by the time limit: every epoch so far is kept
*) exit "$status" ;;
esac

csv="results/$name.csv"
[[ -e "$csv" ]] || fail "There is no $csv: no phase was finished, or the game is not written as in its file names (space_invaders)."
epoch="$(best_epoch "$csv")"
[[ -n "$epoch" ]] || fail "No game was finished in a test within $minutes minutes; give more time, or a smaller --train_steps."
best="snapshots/${name}_$epoch.safetensors"
printf 'best test: epoch %s; now 30 other games\n' "$epoch" >&2
"$bin/python" -m simple_dqn test "$best" --test_games 30 --random_seed 1000 \
    --csv_file "results/${name}_test.csv"
"$bin/python" -m simple_dqn plot "$csv"
last="$(find snapshots -name "${name}_[0-9]*.training.safetensors" | sort -V | tail -n 1)"
packed=("$csv" "results/$name.png" "results/${name}_test.csv" "$best" "$last")
[[ "${last%.training.safetensors}.safetensors" == "$best" ]] ||
    packed+=("${last%.training.safetensors}.safetensors")
tar -cf "results/$name.tar.part" "${packed[@]}"
mv "results/$name.tar.part" "results/$name.tar"
printf 'results/%s.tar holds the run: unpack it here on another machine, and the same command goes on\n' "$name"
