"""Runs of a tiny game in processes that are disturbed while they write, and then resumed.

A program of its own, because a process is only forked safely while it has no threads:

    python kill_driver.py FOLDER GAME HOW EVERY [HOW EVERY ...]

A moment is one at which a run opens, syncs, renames or removes a file. HOW is what happens at
every EVERY-th moment of a run:

    kill        kill -9
    interrupt   Ctrl-C, twice
    hangup      the terminal goes away, then SIGTERM
    pause       Ctrl-Z, then fg
    fail        the call fails
    full        files cannot grow, up to the sixth moment from then on: the disk is full
    random      kill -9, not at a moment but at EVERY instants drawn at random

Then the run is resumed, and its end compared with that of a run that was never disturbed. Prints
the number of disturbances of each kind.
"""

import csv
import errno
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import simple_dqn.commands.resume
import simple_dqn.commands.train  # noqa: F401 (imported once, before the forks)
import simple_dqn.run.run_parts as run_parts
from simple_dqn.main import main

# The memory wraps around in epoch 2. An emulator's start takes longer than a run of CartPole.
GAMES = {
    "CartPole-v1": "--environment gym --network 8",
    "pong": "--screen_width 36 --screen_height 36",
}
_OPTIONS = (
    "--replay_size 180 --random_steps 60 --train_steps 80 --test_steps 40 --test_games 0 "
    "--epochs 2 --random_seed 4 --batch_size 8 --target_steps 50 --prioritized true "
    "--optimizer adam --n_step 2 --keep_snapshots 1"
)
TIMES = {"total_time", "epoch_time", "steps_per_second"}
TRACEBACK = 99
SIGNALS = {
    "kill": [signal.SIGKILL],
    "interrupt": [signal.SIGINT, signal.SIGINT],
    "hangup": [signal.SIGHUP, signal.SIGTERM],
    "pause": [signal.SIGSTOP],
}
# The exit status of a run that stopped.
STOPPED = {"kill": -9, "random": -9, "interrupt": 130, "hangup": 130, "fail": 1, "full": 1}
EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir"}


class Moments:
    """Counts the moments at which this process writes, and disturbs one of them."""

    def __init__(self, root: Path, how: str, at: int) -> None:
        self.number = 0
        self._root, self._how, self._at = str(root), how, at
        self._sync = os.fsync
        sys.addaudithook(self._hook)
        os.fsync = self._fsync

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        path = args[0] if args else None
        if event in EVENTS and isinstance(path, str | Path) and str(path).startswith(self._root):
            self._pass()

    def _fsync(self, descriptor: int) -> None:
        self._pass()
        self._sync(descriptor)
        self._pass()

    def _pass(self) -> None:
        self.number += 1
        if self._how == "full" and self.number in (self._at, self._at + 6):
            size = 100 if self.number == self._at else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        elif self.number == self._at:
            if self._how in SIGNALS:
                for number in SIGNALS[self._how]:
                    os.kill(os.getpid(), number)
            elif self._how == "fail":
                raise OSError(errno.EIO, os.strerror(errno.EIO))


def in_child(root: Path, arguments: list[str], count_file: Path, how: str = "", at: int = 0) -> int:
    """Run a command in a child that is disturbed at a moment; return its exit status, or -signal.

    For `random`, `at` is the instant in milliseconds.
    """
    child = os.fork()
    if child:
        if how == "random":
            time.sleep(at / 1000)
            os.kill(child, signal.SIGKILL)
        while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
            os.kill(child, signal.SIGCONT)
        return os.waitstatus_to_exitcode(status)
    # The log of a child whose files cannot grow is of no use.
    log = os.devnull if how == "full" else count_file.with_suffix(".log")
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.environ["SIMPLE_DQN_ROOT"] = str(root)
    run_parts.HELD_OUT_STATES = 3
    moments = Moments(root, how, at)
    try:
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
        status = TRACEBACK
    number = moments.number  # NB! what follows opens a file, too
    count_file.write_text(str(number))
    os._exit(status)


def newest(root: Path) -> Path | None:
    """The last snapshot of the only run in a folder."""
    paths = [p for p in (root / "snapshots").glob("*.safetensors") if ".training" not in p.name]
    return max(paths, key=lambda path: int(path.stem.rpartition("_")[2]), default=None)


def rows(csv_file: Path) -> list[dict[str, str]]:
    """The rows without their times."""
    lines = csv_file.read_text().splitlines()
    return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(lines)]


def rows_of(root: Path) -> list[dict[str, str]]:
    """The rows of the only run in a folder."""
    return [row for csv_file in (root / "results").glob("*.csv") for row in rows(csv_file)]


def go_on(root: Path, train: list[str]) -> list[str]:
    """The command with which a person goes on."""
    last = newest(root)
    if last is None:  # killed in the random phase: nothing but its row can be lost
        return [*train, "--overwrite", "true"]
    load_file(last)  # every snapshot that is there is whole
    return ["resume", str(last)]


def assert_same_end(ours: Path, theirs: Path, *, all_files: bool) -> None:
    """The same rows, network, target network and optimizer; the same files."""
    assert rows_of(ours) == rows_of(theirs)
    names, expected = ({p.name for p in (root / "snapshots").iterdir()} for root in (ours, theirs))
    assert names == expected or not all_files
    assert not [name for name in names if name.endswith(".tmp")]
    last = {(path := newest(theirs)).name, f"{path.stem}.training.safetensors"}
    for name in last if all_files else last & names:
        left, right = (load_file(root / "snapshots" / name) for root in (ours, theirs))
        assert left.keys() == right.keys()
        for key, value in left.items():
            np.testing.assert_array_equal(value, right[key], err_msg=f"{name}: {key}")


class Driver:
    """Disturbs runs; the folder holds what they write."""

    def __init__(self, folder: Path, game: str) -> None:
        self._train = ["train", game, *GAMES[game].split(), *_OPTIONS.split()]
        self._whole, self._root = folder / "whole", folder / "disturbed"
        self._count_file = folder / "count"
        began = time.perf_counter()
        assert in_child(self._whole, self._train, self._count_file) == 0
        self._milliseconds = int(1000 * (time.perf_counter() - began))
        self._moments = int(self._count_file.read_text())

    def drive(self, how: str, every: int) -> int:
        """Disturb one run after the other; return the number of disturbances."""
        if how == "random":
            rng = np.random.default_rng(1)
            instants = rng.integers(self._milliseconds, size=(every, 2)).tolist()
        else:
            instants = [(at, 1 + at // 2) for at in range(1, self._moments + 1, every)]
        number = 0
        for first, second in instants:
            try:
                number += self._disturb(how, first, second)
                # A run that goes on over a failure may lack a file, and says so.
                all_files = how not in ("fail", "full")
                assert_same_end(self._root, self._whole, all_files=all_files)
            except AssertionError as error:
                raise AssertionError(f"{how} at {first}, then {second}") from error
        return number

    def _disturb(self, how: str, first: int, second: int) -> int:
        """Disturb a run; disturb it once more as it goes on; let it go on to its end."""
        shutil.rmtree(self._root, ignore_errors=True)
        command, number = self._train, 0
        for at in (first, second, 0):
            self._count_file.write_text("0")
            status = in_child(self._root, command, self._count_file, how if at else "", at)
            number += status == -9 or 0 < at <= int(self._count_file.read_text())
            if self._is_finished():
                break
            assert status == STOPPED.get(how), status
            command = go_on(self._root, self._train)
            if how in ("fail", "full"):  # an epoch's rows may be there without its snapshot
                command += ["--overwrite", "true"]
        assert self._is_finished()
        return number

    def _is_finished(self) -> bool:
        """Whether the last row and the last snapshot are there."""
        last, expected = newest(self._root), newest(self._whole)
        same = last is not None and last.name == expected.name
        return same and rows_of(self._root) == rows_of(self._whole)


if __name__ == "__main__":
    driver = Driver(Path(sys.argv[1]), sys.argv[2])
    for how, every in zip(sys.argv[3::2], sys.argv[4::2], strict=True):
        print(driver.drive(how, int(every)))  # noqa: T201
