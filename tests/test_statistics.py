import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from simple_dqn.checkpoints.csv_file import CsvWriter
from simple_dqn.environment import TimeStep
from simple_dqn.statistics import Statistics, summary

ORIGINAL_COLUMNS = (
    "epoch,phase,steps,nr_games,average_reward,min_game_reward,max_game_reward,"
    "last_exploration_rate,total_train_steps,replay_memory_count,meanq,meancost,weight_updates,"
    "total_time,epoch_time,steps_per_second"
)


class StubNetwork:
    """Q-values that are the states' first pixels; a cost that is set."""

    weight_updates = 5
    cost = 0.25

    def predict(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return states[:, 0, 0, :2].astype(np.float32)

    def mean_cost(self) -> float:
        return self.cost

    def reset_cost(self) -> None:
        self.cost = 0.5


def make_statistics(csv_file: Path) -> Statistics:
    held_out = np.zeros((2, 4, 2, 2), np.uint8)
    held_out[0, 0, 0] = (3, 9)
    held_out[1, 0, 0] = (5, 4)
    return Statistics(
        network=StubNetwork(),
        dead_units=lambda states: states.mean(),
        memory=range(1234),
        held_out_states=held_out,
        writers=[CsvWriter(csv_file)],
        total_train_steps=100,
        replay_memory_count=77,
        total_time=1000.0,
    )


def observation(rewards: list[float], terminals: list[bool], game_overs: list[bool]) -> TimeStep:
    return TimeStep(
        np.zeros((len(rewards), 2, 2), np.uint8),
        np.array(rewards, np.float32),
        np.array(terminals),
        np.array(game_overs),
    )


def play(statistics: Statistics, phase: str = "train") -> None:
    """Game 0 scores 1+2=3 (a life lost between), then 4; game 1 scores 10 and continues."""
    statistics.on_phase_start(phase, 3, 6, "steps")
    statistics.on_step(observation([1, 10], [True, False], [False, False]), 2, 0.9)
    statistics.on_step(observation([2, 0], [True, False], [True, False]), 2, 0.8)
    statistics.on_step(observation([4, 0], [True, False], [True, False]), 2, 0.7)
    statistics.on_phase_end()


def test_a_game_is_a_whole_game(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    statistics = make_statistics(csv_file)
    play(statistics)
    lines = csv_file.read_text().splitlines()
    assert lines[0].startswith(ORIGINAL_COLUMNS)
    (row,) = csv.DictReader(lines)
    assert row["epoch"] == "3"
    assert row["phase"] == "train"
    numbers = {name: float(value) for name, value in row.items() if name != "phase"}
    expected = {
        "steps": 6,
        "nr_games": 2,
        "average_reward": 3.5,
        "min_game_reward": 3,
        "max_game_reward": 4,
        "std_game_reward": 0.5,
        "last_exploration_rate": 0.7,
        "total_train_steps": 106,
        "replay_memory_count": 1234,
        "meanq": (9 + 5) / 2,
        "meancost": 0.5,
        "weight_updates": 5,
        "dead_units": (3 + 9 + 5 + 4) / 32,
    }
    assert {name: numbers[name] for name in expected} == expected
    assert numbers["total_time"] >= 1000
    assert numbers["steps_per_second"] == pytest.approx(6 / numbers["epoch_time"], rel=0.05)


def test_phases_do_not_mix(tmp_path: Path) -> None:
    """Game 1's 10 points are not carried over; a test trains nothing, and fills no memory."""
    csv_file = tmp_path / "pong.csv"
    statistics = make_statistics(csv_file)
    for phase in ("test", "train", "test"):
        play(statistics, phase)
    rows = list(csv.DictReader(csv_file.read_text().splitlines()))
    for same in ("nr_games", "average_reward"):
        assert len({row[same] for row in rows}) == 1
    assert [row["total_train_steps"] for row in rows] == ["100", "106", "106"]
    assert [row["replay_memory_count"] for row in rows] == ["77", "1234", "1234"]


def test_no_finished_game_is_nan(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    statistics = make_statistics(csv_file)
    statistics.on_phase_start("test", 1, 2, "steps")
    statistics.on_step(observation([7, 7], [False, False], [False, False]), 2, 0.05)
    statistics.on_phase_end()
    (row,) = csv.DictReader(csv_file.read_text().splitlines())
    assert (row["nr_games"], row["average_reward"]) == ("0", "nan")
    assert "0 games, none ended, mean Q" in summary(statistics.row)
