"""What a run reports at its end: how well its best network played, and what to do with it."""

import math
import shlex
from typing import NamedTuple

from simple_dqn.checkpoints.csv_file import CsvRow
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import run_snapshots
from simple_dqn.environments.roms import human_normalized_score
from simple_dqn.statistics import COLUMNS


class _Test(NamedTuple):
    """A test in which a game ended."""

    epoch: int
    games: int
    reward: float
    deviation: float


def ending(game: str, files: RunFiles, rows: list[CsvRow]) -> str:
    """Return the best test and the commands to try next, a line for each command.

    Args:
        game: the name of the game that was played.
        files: of the run.
        rows: of the run's CSV file.
    """
    tests = [test for row in rows if row.phase == "test" and (test := _test(row))]
    best = max(tests, key=lambda test: test.reward, default=None)
    text = "the run is over; no game ended in a test"
    if best is not None:
        text = (
            f"the run is over; the best test is that of epoch {best.epoch}: "
            f"reward {best.reward:.2f} +- {best.deviation:.2f} over {best.games} games"
        )
        normalized = human_normalized_score(game, best.reward)
        if normalized is not None:
            text += f", human-normalized {normalized:.1f}% (0: random play, 100: a human)"
    commands = [f"scripts/plot.sh {shlex.quote(str(files.csv_file))}"]
    if snapshots := run_snapshots(files.prefix):
        last = max(snapshots)
        path = snapshots.get(best.epoch if best is not None else last, snapshots[last])
        network = shlex.quote(str(path))
        commands = [
            f"scripts/play.sh {network}",
            f"scripts/test.sh {network} --test_games 30",
            *commands,
        ]
    return "\n  ".join([f"{text}; commands to try next:", *commands])


def _test(row: CsvRow) -> _Test | None:
    """A test's figures; None if no game ended."""
    cells = dict(zip(COLUMNS, row.line.rstrip("\n").split(","), strict=True))
    reward = float(cells["average_reward"])
    if math.isnan(reward):
        return None
    return _Test(row.epoch, int(float(cells["nr_games"])), reward, float(cells["std_game_reward"]))
