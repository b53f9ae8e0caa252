"""How many threads a network gets, and that a run keeps their number."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.main import main
from simple_dqn.networks.device import cores_at_hand, idle_cores
from simple_dqn.run import parts

TINY = (
    "--screen_width 36 --screen_height 36 --replay_size 300 --random_steps 100 --train_steps 40 "
    "--test_steps 20 --batch_size 8"
)


def test_busy_cores_are_left_to_other_programs() -> None:
    loop = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(loop) for _ in range(psutil.cpu_count() or 1)]
    try:
        while psutil.cpu_percent(interval=0.2) < 95:
            pass
        assert idle_cores() == 1 <= cores_at_hand()
    finally:
        for process in loops:
            process.kill()
            process.wait()


def test_a_run_keeps_its_threads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the cores are busy at its second start: sums depend on the number."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(parts, "cores_at_hand", lambda: 4)
    monkeypatch.setattr(parts, "idle_cores", lambda: 2)
    assert main(["train", "pong", *TINY.split(), "--epochs", "1"]) == 0
    monkeypatch.setattr(parts, "idle_cores", lambda: 1)
    assert main(["resume", str(root / "snapshots/pong_1.safetensors"), "--epochs", "2"]) == 0
    last = read_snapshot(root / "snapshots/pong_2.safetensors")
    assert last.header["options"]["threads"] == 2
