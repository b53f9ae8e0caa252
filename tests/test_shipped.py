"""The networks in the repository still play as they did."""

import csv
from pathlib import Path

import pytest

from simple_dqn import snapshot
from simple_dqn.main import main

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"


def test_shipped_pong_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By 15 points or more on average over 3 games; random play loses by 20."""
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(tmp_path))
    (path,) = SNAPSHOTS.glob("pong_*.safetensors")
    options = ["--num_games", "3", "--test_games", "3", "--test_steps", "0", "--random_seed", "7"]
    assert main(["test", str(path), *options, "--csv_file", str(tmp_path / "test.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "test.csv").read_text().splitlines())
    assert row["nr_games"] == "3"
    assert float(row["average_reward"]) >= 15


def test_shipped_snapshots_tell_what_they_are() -> None:
    for path in SNAPSHOTS.glob("*.safetensors"):
        header = snapshot.read_snapshot(path).header
        assert path.name.startswith(header["game"])
        assert header["options"]["random_seed"] is not None
