"""Which of the networks at hand a person means, and how they scored."""

import contextlib
import csv
import math
import sys
from pathlib import Path

from simple_dqn.checkpoints.places import root, snapshots_in
from simple_dqn.checkpoints.snapshot import run_prefix, run_snapshots
from simple_dqn.errors import UserError


def scores_of_tests(snapshot: Path) -> dict[int, float]:
    """The average score of each epoch's test of a snapshot's run, out of the run's statistics."""
    results = snapshot.resolve().parent.parent / "results" / f"{run_prefix(snapshot).name}.csv"
    scores: dict[int, float] = {}
    with contextlib.suppress(OSError, ValueError, KeyError):  # none, or another tool's file
        for row in csv.DictReader(results.read_text(encoding="utf-8").splitlines()):
            if row["phase"] == "test" and row["average_reward"] != "nan":
                scores[int(row["epoch"])] = float(row["average_reward"])
    return scores


def best_and_last() -> dict[Path, str]:
    """The best and the last snapshot of each run in snapshots/, and what its test's mean was."""
    found = {}
    for prefix in sorted({run_prefix(path) for path in snapshots_in(root() / "snapshots")}):
        snapshots = run_snapshots(prefix) or {0: prefix.with_name(f"{prefix.name}.safetensors")}
        last = max(snapshots)
        scores = scores_of_tests(snapshots[last])
        best = max(snapshots, key=lambda epoch: (scores.get(epoch, -math.inf), epoch))
        for epoch in sorted({best, last}):
            words = [f"test {scores[epoch]:.4g}"] if epoch in scores else []
            words += ["best"] * (best < last) if epoch == best else ["last"]
            found[snapshots[epoch]] = ", ".join(words)
    return found


def choose_snapshot() -> Path:
    """Ask at the terminal which of the networks in snapshots/ is meant."""
    found = best_and_last()
    if not found:
        raise UserError(
            f"no SNAPSHOT or GAME was given, and there is no snapshot in {root() / 'snapshots'}; "
            "give the name of a game to play alone"
        )
    paths = list(found)
    if not sys.stdin.isatty():
        names = ", ".join(map(str, paths))
        raise UserError(f"no SNAPSHOT or GAME was given; give a game's name, or one of {names}")
    wide = max(len(path.stem) for path in paths)
    lines = [f"{n:3}  {path.stem:{wide}}  {found[path]}" for n, path in enumerate(paths, start=1)]
    sys.stderr.write("\n".join(["Which network?", *lines, "number: "]))
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if answer not in map(str, range(1, len(paths) + 1)):
        raise UserError(f"{answer!r} is not a number from 1 to {len(paths)}; call play again")
    return paths[int(answer) - 1]
