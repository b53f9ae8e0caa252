"""`test SNAPSHOT`: play as the run's own test phase did, and print the score."""

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.commands.watchers import watched_run
from simple_dqn.environments.roms import human_normalized_score
from simple_dqn.options.settings import Settings
from simple_dqn.statistics import Row


def test(settings: Settings, snapshot: Snapshot) -> None:
    """Test a network and write the score to standard output."""
    run = watched_run(settings, snapshot)
    streams.write(_score_report(run.game.name, run.test()))


def _score_report(game: str, row: Row) -> str:
    average = float(row["average_reward"])
    lines = [
        f"game                    {game}",
        f"games                   {row['nr_games']}",
        f"steps                   {row['steps']}",
    ]
    if not row["nr_games"]:
        return "\n".join([*lines, "No game ended: give more --test_steps, or --test_games.\n"])
    lines += [
        f"average reward          {average:.2f} +- {row['std_game_reward']:.2f} (std. deviation)",
        f"lowest, highest         {row['min_game_reward']:g}, {row['max_game_reward']:g}",
    ]
    normalized = human_normalized_score(game, average)
    if normalized is not None:
        lines.append(f"human-normalized score  {normalized:.1f}% (0: random play, 100: a human)")
    return "\n".join(lines) + "\n"
