"""What a run logs at its end: how well its best network played, and what to do with it."""

import math
import shlex

from simple_dqn.checkpoints.csv_file import CsvRow
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import run_snapshots
from simple_dqn.environments.roms import human_normalized_score
from simple_dqn.statistics import COLUMNS


def ending(game: str, files: RunFiles, rows: list[CsvRow]) -> str:
    """Return the result of the best test, and a line for each command that can follow.

    Args:
        game: name of the game that was played.
        files: of the run.
        rows: of the run's CSV file.
    """
    tests = [
        dict(zip(COLUMNS, row.line.rstrip("\n").split(","), strict=True))
        for row in rows
        if row.phase == "test"
    ]
    tests = [test for test in tests if not math.isnan(float(test["average_reward"]))]
    text = "the run is over; no game ended in a test"
    snapshots = run_snapshots(files.prefix)
    epoch = max(snapshots, default=0)
    if tests:
        best = max(tests, key=lambda test: float(test["average_reward"]))
        reward, deviation = float(best["average_reward"]), float(best["std_game_reward"])
        epoch = int(float(best["epoch"]))
        text = (
            f"the run is over; the best test is that of epoch {epoch}: "
            f"reward {reward:.2f} +- {deviation:.2f} over {float(best['nr_games']):.0f} games"
        )
        normalized = human_normalized_score(game, reward)
        if normalized is not None:
            text += f", human-normalized {normalized:.1f}% (0: random play, 100: a human)"
    commands = [f"scripts/plot.sh {shlex.quote(str(files.csv_file))}"]
    if snapshots:
        network = shlex.quote(str(snapshots.get(epoch, snapshots[max(snapshots)])))
        commands.insert(0, f"scripts/test.sh {network} --test_games 30")
        commands.insert(0, f"scripts/play.sh {network}")
    return "\n  ".join([f"{text}; commands to try next:", *commands])
