"""Runs of a tiny game in processes that are killed at a chosen moment of writing.

A program of its own, because a process is only forked safely while it has no threads:

    python kill_driver.py FOLDER EVERY

kills a run at every EVERY-th moment at which it opens, syncs, renames or removes a file, resumes
the run, and compares the end with that of a run that was never killed. Prints the number of kills.
"""

import csv
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import simple_dqn.commands.resume
import simple_dqn.commands.train  # noqa: F401 (imported once, before the forks)
import simple_dqn.run.run as run_module
from simple_dqn.main import main

TINY = [
    *("--screen_width", "36", "--screen_height", "36", "--replay_size", "250"),
    *("--random_steps", "60", "--train_steps", "80", "--test_steps", "40", "--epochs", "3"),
    *("--random_seed", "4", "--batch_size", "8", "--target_steps", "50"),
    *("--prioritized", "true", "--optimizer", "adam", "--n_step", "2"),
]
TIMES = {"total_time", "epoch_time", "steps_per_second"}
EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir"}


def in_child(root: Path, arguments: list[str], kill_at: int, count_file: Path) -> int:
    """Run a command in a child that kills itself at a moment; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    quiet = os.open(count_file.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(quiet, 2)
    moments = 0

    def at_moment() -> None:
        nonlocal moments
        moments += 1
        if moments == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if (
            event in EVENTS
            and isinstance(args[0], str | Path)
            and str(args[0]).startswith(str(root))
        ):
            at_moment()

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        at_moment()
        sync(descriptor)
        at_moment()

    sys.addaudithook(hook)
    os.fsync = fsync
    os.environ["SIMPLE_DQN_ROOT"] = str(root)
    run_module.HELD_OUT_STATES = 3
    status = main(arguments)
    kept = moments  # NB! what follows opens a file, too
    count_file.write_text(str(kept))
    os._exit(status)


def newest(root: Path) -> Path | None:
    paths = [
        p for p in (root / "snapshots").glob("pong_*.safetensors") if ".training" not in p.name
    ]
    return max(paths, key=lambda path: int(path.stem.rpartition("_")[2]), default=None)


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "results" / "pong.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def go_on(root: Path) -> list[str]:
    """The command with which a person goes on after a kill."""
    last = newest(root)
    if last is None:  # killed in the first epoch: nothing but its rows can be lost
        return ["train", "pong", *TINY, "--overwrite", "true"]
    load_file(last)  # every snapshot that is there is whole
    return ["resume", str(last)]


def assert_same_end(ours: Path, theirs: Path) -> None:
    assert rows(ours) == rows(theirs), (rows(ours), rows(theirs))
    names = {p.name for p in (theirs / "snapshots").iterdir()}
    assert {p.name for p in (ours / "snapshots").iterdir()} == names
    for name in ("pong_3.safetensors", "pong_3.training.safetensors"):
        left, right = (load_file(root / "snapshots" / name) for root in (ours, theirs))
        assert left.keys() == right.keys()
        for key, value in left.items():
            np.testing.assert_array_equal(value, right[key], err_msg=f"{name}: {key}")


def drive(folder: Path, every: int) -> int:
    count_file = folder / "count"
    whole = folder / "whole"
    assert in_child(whole, ["train", "pong", *TINY], 0, count_file) == 0
    moments = int(count_file.read_text())
    kills = 0
    for moment in range(1, moments + 1, every):
        root = folder / "killed"
        shutil.rmtree(root, ignore_errors=True)
        assert in_child(root, ["train", "pong", *TINY], moment, count_file) == signal.SIGKILL
        # Killed while going on, too; then left alone.
        status = in_child(root, go_on(root), 1 + moment // 2, count_file)
        kills += 1 + (status == signal.SIGKILL)
        if status == signal.SIGKILL:
            assert in_child(root, go_on(root), 0, count_file) == 0, f"moment {moment}"
        else:
            # 1: killed after the last row, the run was finished, and nothing is left to resume.
            assert os.waitstatus_to_exitcode(status) in (0, 1), f"moment {moment}"
        try:
            assert_same_end(root, whole)
        except AssertionError as error:
            raise AssertionError(f"moment {moment} of {moments}") from error
    return kills


if __name__ == "__main__":
    print(drive(Path(sys.argv[1]), int(sys.argv[2])))  # noqa: T201
