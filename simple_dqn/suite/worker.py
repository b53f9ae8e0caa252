"""One run of a suite on the machine where Ray puts it."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from simple_dqn.suite.archive import CHUNK
from simple_dqn.suite.plan import PlannedRun

_SECONDS = 1.0  # from one look at the run's files to the next
_LONGEST_END = 60.0  # seconds that a run has to end in after SIGTERM
_PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent dies

Call = Callable[..., Any]  # calls a method of the archive, wherever it is, and returns its result


def carry_out(run: PlannedRun, call: Call, place: str, threads: int, mine: Path) -> str | None:
    """Carry out what is left of a run, and send each epoch's files to the archive.

    `call("read", path, offset)` calls a method of the archive. `place` is the name of this machine,
    `mine` a folder on it for this run of this suite alone; it is removed at the end. Returns None,
    or what went wrong: the last line of the run's log.
    """
    shutil.rmtree(mine, ignore_errors=True)  # what an attempt that was killed left
    mine.mkdir(parents=True)
    folder = Path(tempfile.mkdtemp(dir=mine))
    try:
        attempt, files = call("begin", run, place)
        for path, size in files.items():
            copy = folder / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            with copy.open("wb") as file:
                while file.tell() < size:
                    file.write(call("read", path, file.tell()))
        if run.is_finished(folder):  # an attempt died when it had sent all
            return None
        return _Attempt(run, attempt, call, folder).carry_out(threads)
    finally:
        shutil.rmtree(mine, ignore_errors=True)


class _Attempt:
    """A process that carries out a run in a folder, and what of its files was sent."""

    def __init__(self, run: PlannedRun, attempt: int, call: Call, folder: Path) -> None:
        self._run, self._attempt, self._call, self._folder = run, attempt, call, folder
        self._sent = self._states()

    def carry_out(self, threads: int) -> str | None:
        run, folder = self._run, self._folder
        log_file = folder / run.log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        snapshot = run.newest_snapshot(folder)
        words = run.command(snapshot.relative_to(folder) if snapshot is not None else None)
        words += ["--overwrite", "true"]  # of rows after the snapshot
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "simple_dqn", *words],
                cwd=folder,
                env={**os.environ, "SIMPLE_DQN_ROOT": str(folder), "OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(_stop_with_parent, os.getpid()),
            )
            try:
                while (status := process.poll()) is None:
                    self._send()
                    time.sleep(_SECONDS)
            finally:
                _stop(process)
        self._send()
        lines = log_file.read_text("utf-8", errors="replace").strip().split("\n")
        return (lines[-1] or f"exit status {status}") if status else None

    def _send(self) -> None:
        """Send what is new, in an order in which the archive can be left at any moment."""
        earlier, states = self._states(), self._states()
        # NB! The run writes a snapshot after the files that it needs, and removes those after the
        # next snapshot: if the same files are found twice, none was missed in between.
        if earlier.keys() != states.keys():
            return
        # A snapshot is sent last, since it needs the other files; before it its training state.
        ends = (".safetensors", ".training.safetensors")
        for path in sorted(states, key=lambda p: (p.endswith(ends[0]), not p.endswith(ends[1]))):
            if states[path] != self._sent.get(path):
                try:
                    self._send_file(path)
                except FileNotFoundError:  # the run has removed it after its next epoch
                    return
                self._sent[path] = states[path]
        self._call("keep", self._run, self._attempt, list(states))

    def _send_file(self, path: str) -> None:
        with (self._folder / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for offset in range(0, max(size, 1), CHUNK):
                is_last = offset + CHUNK >= size
                data = file.read(CHUNK)
                self._call("write", self._run, self._attempt, path, offset, data, is_last)

    def _states(self) -> dict[str, tuple[int, int]]:
        """Time and size of each file of the run, by path from the root folder on."""
        states = {}
        for path in self._run.files(self._folder):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                state = (self._folder / path).stat()
                states[path] = (state.st_mtime_ns, state.st_size)
        return states


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to stop, as Ctrl-C does, and end it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_LONGEST_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop_with_parent(parent: int) -> None:
    """Let this process be asked to stop when the worker that began it dies, or has died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
