"""How many threads a network gets, and that a run does not depend on it."""

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from helpers import make_network
from test_deep_q_network import make_batch, weights_of

from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.main import main
from simple_dqn.networks.native import Kernels
from simple_dqn.run import parts
from simple_dqn.run.idle_cores import IdleCores

TINY = (
    "--screen_width 36 --screen_height 36 --replay_size 300 --random_steps 100 --train_steps 40 "
    "--test_steps 20 --batch_size 8"
)
LAPTOP: dict[str, Any] = {"network": "nips", "dueling": True, "distributional": "qr"}


def test_busy_cores_are_left_to_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernels, "num_threads", 2)
    cores = IdleCores()
    loop = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(loop) for _ in range(psutil.cpu_count() or 1)]
    try:
        while Kernels.num_threads > 1:
            cores.on_step()
    finally:
        for process in loops:
            process.kill()
            process.wait()


def test_cores_that_this_process_keeps_busy_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_dqn.run.idle_cores.cores_at_hand", lambda: {1, 3, 9})
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: [100.0, 100.0, 100.0, 60.0])
    seconds = itertools.count(1)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    for phase, own, learning, threads in (
        ("test", 0.0, 0.0, 1),
        ("test", 0.9, 0.9, 2),
        ("test", 1.6, 0.9, 3),
        ("train", 1.6, 0.9, 2),  # the emulators take 0.7 of a core, and it is left to them
        ("train", 1.6, 1.1, 3),  # less than learning
    ):
        of_process, of_thread = iter((0.0, 0.0, own)), iter((0.0, 0.0, learning))
        monkeypatch.setattr(time, "process_time", lambda times=of_process: next(times))
        monkeypatch.setattr(time, "thread_time", lambda times=of_thread: next(times))
        cores = IdleCores()
        cores.threads()
        cores.on_phase_start(phase)
        assert cores.threads() == threads


@pytest.mark.parametrize("batch_size", [8, 32, 64, 256])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {**LAPTOP, "optimizer": "adam", "double_q": True},
        {**LAPTOP, "distributional": "c51", "layer_norm": "true", "optimizer": "radam"},
    ],
    ids=["nature", "laptop", "layer_norm"],
)
def test_the_number_of_threads_changes_no_bit(settings: dict[str, Any], batch_size: int) -> None:
    """So it can follow the load of the machine, and a resumed run is exact on a busy one."""
    batch = make_batch(0, batch_size, shape=(84, 84)).learned()
    results = []
    for threads in (1, 2, 3, 4):
        network = make_network(
            native_kernels=True, num_threads=threads, observation_shape=(84, 84), **settings
        )
        for _ in range(3):
            network.train(batch)
        results.append([*weights_of(network), network.predict(batch.prestates[:5])])
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


def test_torch_keeps_its_threads_where_its_sums_depend_on_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without kernels, also when the cores are busy at the run's second start."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(IdleCores, "threads", lambda _: 2)
    monkeypatch.setattr(parts, "cores_at_hand", lambda: {0, 1, 2, 3})
    for label, kernels, threads in (("torch", "false", 2), ("native", "true", None)):
        native = ("--native_kernels", kernels)
        assert main(["train", "pong", label, *TINY.split(), "--epochs", "1", *native]) == 0
        with monkeypatch.context() as busy:
            busy.setattr(IdleCores, "threads", lambda _: 1)
            first = str(root / f"snapshots/pong_{label}_1.safetensors")
            assert main(["resume", first, "--epochs", "2", *native]) == 0
        last = read_snapshot(root / f"snapshots/pong_{label}_2.safetensors")
        assert last.header["options"]["threads"] == threads
        assert last.header["versions"]["threads"] == str(threads or 1)
