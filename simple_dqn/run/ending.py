"""What a run logs at its end: how well its best network played, and what to do with it."""

import shlex

from simple_dqn.checkpoints.csv_file import read_csv
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import run_snapshots
from simple_dqn.environments.roms import human_normalized_score


def ending(game: str, files: RunFiles) -> str:
    """Return the result of the best test, and a line for each command that can follow."""
    tests = [row for row in read_csv(files.csv_file) if row.phase == "test"]
    tests = [test for test in tests if test.values["average_reward"] != "nan"]
    text = "the run is over; no game ended in a test"
    snapshots = run_snapshots(files.prefix)
    epoch = max(snapshots, default=0)
    if tests:
        best = max(tests, key=lambda test: float(test.values["average_reward"]))
        epoch, reward = best.epoch, float(best.values["average_reward"])
        text = (
            f"the run is over; the best test is that of epoch {epoch}: reward {reward:.2f} +- "
            f"{float(best.values['std_game_reward']):.2f} over {best.values['nr_games']} games"
        )
        normalized = human_normalized_score(game, reward)
        if normalized is not None:
            text += f", human-normalized {normalized:.1f}% (0: random play, 100: a human)"
    commands = [f"scripts/plot.sh {shlex.quote(str(files.csv_file))}"]
    if snapshots:
        network = shlex.quote(str(snapshots.get(epoch, snapshots[max(snapshots)])))
        commands = [
            f"scripts/play.sh {network}",
            f"scripts/test.sh {network} --test_games 30",
            *commands,
        ]
    return "\n  ".join([f"{text}; commands to try next:", *commands])
