"""`test SNAPSHOT`: play as the run's own test phase did, and print the score."""

from simple_dqn import streams
from simple_dqn.checkpoints.csv_file import read_csv
from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.commands.train import watched_run
from simple_dqn.environments.roms import human_normalized_score
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable
from simple_dqn.options.settings import Settings


def test(settings: Settings, snapshot: Snapshot) -> None:
    """Test a network and write the score to standard output."""
    if (file := settings.csv_file) is not None:
        check_writable(file, "--csv_file")
        if any(row.phase != "test" for row in read_csv(file)):
            raise UserError(f"{file} is the CSV file of a run; give --csv_file another name")
    run = watched_run(settings, snapshot)
    row = run.test()
    average = float(row["average_reward"])
    lines = [
        f"game                    {run.game.name}",
        f"games                   {row['nr_games']}",
        f"steps                   {row['steps']}",
    ]
    if row["nr_games"]:
        deviation = f"{row['std_game_reward']:.2f} (std. deviation)"
        lowest, highest = row["min_game_reward"], row["max_game_reward"]
        lines.append(f"average reward          {average:.2f} +- {deviation}")
        lines.append(f"lowest, highest         {lowest:g}, {highest:g}")
        normalized = human_normalized_score(run.game.name, average)
        if normalized is not None:
            lines.append(
                f"human-normalized score  {normalized:.1f}% (0: random play, 100: a human)"
            )
    else:
        lines.append("No game ended: give more --test_steps, or --test_games.")
    streams.write("\n".join(lines) + "\n")
