"""The progress of a run: its bar on a terminal, its lines elsewhere, its last lines."""

import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import run_in_terminal

from simple_dqn.environment import TimeStep
from simple_dqn.main import main
from simple_dqn.reports import progress
from simple_dqn.reports.progress import Progress, duration

OPTIONS = (
    "--network nips --screen_width 36 --screen_height 36 --replay_size 500 --random_steps 60 "
    "--test_steps 60 --random_seed 0 --backend cpu"
)
TINY = OPTIONS.split()
OFTEN = """
import sys
from simple_dqn.main import main
from simple_dqn.reports import progress
progress._SECONDS_BETWEEN_REFRESHES = 0.05
main(sys.argv[1:])
"""
NO_END = TimeStep(
    np.zeros((1, 1), np.uint8),
    np.zeros(1, np.float32),
    np.zeros(1, np.bool_),
    np.zeros(1, np.bool_),
)


def make_progress(rewards: list[float], cost: float, *, epochs: int | None) -> Progress:
    """The progress of a run of so many epochs, or of a test alone."""
    shown = Progress()
    shown.on_run_start(
        SimpleNamespace(
            statistics=SimpleNamespace(rewards=rewards),
            network=SimpleNamespace(mean_cost=lambda: cost),
            settings=SimpleNamespace(epochs=epochs),
            only_test=epochs is None,
        )
    )
    return shown


def test_eighty_columns_show_a_bar_with_reward_and_loss(tmp_path: Path) -> None:
    """The bar is no longer than the terminal is wide, and no fact beside it is cut."""
    command = [sys.executable, "-c", OFTEN, "train", "pong", *TINY]
    command += ["--train_steps", "600", "--epochs", "1"]
    status, output = run_in_terminal(command, tmp_path, SIMPLE_DQN_ROOT=".")
    assert status == 0, output
    lines = re.split(r"[\r\n]+|\x1b\[A", output)
    assert max(len(line) for line in lines if "%|" in line) <= 80
    bar = re.compile(
        r"train 1/1 +\d+%\|(.+)\| reward -[\d.]*, loss [\d.]+, [\w ]+ left, \d+ steps/s$"
    )
    bars = [match[1] for line in lines if (match := bar.match(line.rstrip()))]
    assert bars, output
    assert min(map(len, bars)) >= 15
    assert re.search(r"epoch 1 train: 600 steps, \d+ games, .* [\d.]+ s, \d+ steps/s", output)
    end = (
        r"the run is over; no game ended in a test; commands to try next:\s+\S+ snapshots/pong_1\."
    )
    assert re.search(end, output)


def test_time_left_is_that_of_the_whole_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By hand: 100 steps at 2 s each in training and at 1 s each in tests, for three epochs."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    shown = make_progress([3.0, 4.0], 0.0, epochs=3)

    def play(phase: str, epoch: int, seconds: float, steps: int = 100) -> str:
        """Play so many steps of a phase; the last line."""
        shown.on_phase_start(phase, epoch, 100, "steps")
        for _ in range(steps):
            now[0] += seconds
            shown.on_step(NO_END, 1, 0.25)
        return caplog.messages[-1]

    assert play("random", 0, 0.5) == (
        "random: 100 of 100 steps, reward 3.5, 2 steps/s, exploration 0.25"
    )
    shown.on_phase_end()
    # No test is known: the rest, and two more trainings of 200 s.
    assert play("train", 1, 2.0, steps=50) == (
        "train 1/3: 50 of 100 steps, reward 3.5, 8 min left, 0 steps/s, exploration 0.25"
    )
    assert play("train", 1, 2.0).startswith("train 1/3: 100 of 100 steps, reward 3.5, 7 min left")
    shown.on_phase_end()
    # Of the test 70 s are left, and two more epochs of 300 s.
    assert "11 min left" in play("test", 1, 1.0, steps=30)
    play("test", 1, 1.0)
    shown.on_phase_end()
    # 300 s of a training of 400 s, such a training once more, and two tests of 100 s.
    assert "15 min left" in play("train", 2, 4.0, steps=25)
    play("train", 3, 2.0)
    shown.on_phase_end()
    assert "20 s left" in play("test", 3, 1.0, steps=80)
    shown = make_progress([], 0.5, epochs=None)  # a test alone
    start = "test 7: 50 of 100 steps, reward -, loss 0.5000, 50 s left, "
    assert play("test", 7, 1.0, steps=50).startswith(start)
    assert [duration(seconds) for seconds in (59.4, 3540, 3590)] == ["59 s", "59 min", "1 h 00 min"]


def test_the_end_names_the_best_test_and_what_to_do(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In training and in a run that was resumed, whose best test may lie before."""
    options = [*TINY, "--train_steps", "60", "--epochs", "2", "--test_games", "2"]
    options += ["--exploration_rate_test", "1"]  # short games
    assert main(["train", "breakout", *options]) == 0
    csv_file = root / "results" / "breakout.csv"
    header, *rows = (line.split(",") for line in csv_file.read_text().splitlines())
    rows = [row for row in rows if row[header.index("phase")] == "test"]
    rewards = [float(row[header.index("average_reward")]) for row in rows]
    best, first = int(np.argmax(rewards)) + 1, ",".join(rows[0])

    def check_end(best: int, reward: float) -> None:
        lines = capsys.readouterr().err.split("the run is over; ")[1].splitlines()
        assert f"the best test is that of epoch {best}: reward {reward:.2f} +- " in lines[0]
        assert f"human-normalized {100 * (reward - 1.7) / (30.5 - 1.7):.1f}%" in lines[0]
        network = f"'{root / 'snapshots' / f'breakout_{best}.safetensors'}'"
        assert lines[1:] == [
            f"  scripts/play.sh {network}",
            f"  scripts/test.sh {network} --test_games 30",
            f"  scripts/plot.sh '{csv_file}'",
        ]

    check_end(best, max(rewards))
    rows[0][header.index("average_reward")] = "31.0"
    csv_file.write_text(csv_file.read_text().replace(first, ",".join(rows[0])))
    last = root / "snapshots" / "breakout_2.safetensors"
    assert main(["resume", str(last), "--epochs", "3"]) == 0
    check_end(1, 31.0)
