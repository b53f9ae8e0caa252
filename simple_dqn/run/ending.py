"""When a run ends, and what it logs then: how well its best network played, what to do with it."""

import shlex
from collections.abc import Mapping
from typing import Any

from simple_dqn.checkpoints.csv_file import best_test, read_csv
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import run_snapshots
from simple_dqn.environments.roms import human_normalized_score
from simple_dqn.options.settings import Settings


def reason_to_end(settings: Settings, row: Mapping[str, Any]) -> str:
    """Return the option that ends a run after an epoch, of which this is the last row, or ""."""
    phase, score, hours = row.get("phase"), settings.until_score, settings.hours
    if score is not None and phase == "test" and float(row["average_reward"]) >= score:
        return f"--until_score {score:g}"
    if hours is not None and phase in {"train", "test"}:
        return f"--hours {hours:g}" if float(row["total_time"]) >= 3600 * hours else ""
    return ""


def ending(game: str, files: RunFiles) -> str:
    """Return the result of the best test, and a line for each command that can follow."""
    best = best_test(read_csv(files.csv_file))
    text = "the run is over; no game ended in a test"
    snapshots = run_snapshots(files.prefix)
    epoch = max(snapshots, default=0)
    if best is not None:
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
