"""The networks in the repository still play as they did."""

import csv
from pathlib import Path

import pytest

from simple_dqn.main import main
from simple_dqn.run import snapshot

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"


@pytest.mark.parametrize(("game", "least"), [("pong", 15), ("road_runner", 1000)])
def test_shipped_networks_play_well(
    game: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On average over 3 games; random play has -20 in Pong and 12 in Road Runner."""
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(tmp_path))
    (path,) = SNAPSHOTS.glob(f"{game}_*.safetensors")
    options = ["--num_games", "3", "--test_games", "3", "--test_steps", "0", "--random_seed", "7"]
    assert main(["test", str(path), *options, "--csv_file", str(tmp_path / "test.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "test.csv").read_text().splitlines())
    assert row["nr_games"] == "3"
    assert float(row["average_reward"]) >= least


def test_shipped_snapshots_tell_what_they_are() -> None:
    for path in SNAPSHOTS.glob("*.safetensors"):
        header = snapshot.read_snapshot(path).header
        assert path.name.startswith(header["game"])
        assert header["options"]["random_seed"] is not None
