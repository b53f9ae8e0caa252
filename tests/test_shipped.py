"""The networks in the repository still play as they did.

They are named here one by one: a user's own runs write into the same folders.
"""

import csv
import re
from pathlib import Path

import pytest

from simple_dqn.main import main

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"
LEAST_SCORES = {
    "boxing_qr_s1_24": 18,
    "breakout_online_s1_21": 150,
    "pong_online_s1_6": 16,
    "pong_s1_11": 15,
    "road_runner_online_s1_8": 10_000,
    "seaquest_online_s1_6": 900,
    "seaquest_online_s2_6": 1_000,
    "space_invaders_online_s1_12": 500,
}


@pytest.mark.parametrize(("name", "least"), LEAST_SCORES.items())
def test_shipped_networks_play_well(
    name: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On average over 6 games.

    Random: Pong -21, Road Runner 12, Breakout 2, Boxing 0, Space Invaders 148, Seaquest 68.
    """
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(tmp_path))
    path = SNAPSHOTS / f"{name}.safetensors"
    options = ["--num_games", "6", "--test_games", "6", "--test_steps", "0", "--random_seed", "7"]
    assert main(["test", str(path), *options, "--csv_file", str(tmp_path / "test.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "test.csv").read_text().splitlines())
    assert row["nr_games"] == "6"
    assert float(row["average_reward"]) >= least


def test_the_shipped_network_balances_the_pole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The goal of CartPole-v1 is a mean of 475 of at most 500 steps."""
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(tmp_path))
    path = SNAPSHOTS / "cartpole_s1_5.safetensors"
    assert main(["test", str(path), "--test_games", "8", "--random_seed", "7"]) == 0
    found = re.search(r"average reward +([\d.]+)", capsys.readouterr().out)
    assert found
    assert float(found[1]) >= 475
