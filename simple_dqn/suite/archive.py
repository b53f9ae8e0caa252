"""The folder in which a suite's files come together, which its runs reach from any machine."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.files import put_in_place, remove_temporary_files
from simple_dqn.suite.plan import PlannedRun

CHUNK = 8 * 2**20  # bytes that go over the network at a time


class Archive:
    """Gives runs their files of the last epoch, and takes those of the next.

    A file takes its place when its last part has come, so that each file is complete, new or old,
    at any moment. Only the latest attempt at a run may write: an earlier one, on a machine that was
    given up, may still be alive.
    """

    def __init__(self, folder: Path) -> None:
        """Keep files below the root folder of the machine on which this object lives."""
        self._folder = folder
        self._attempts: dict[str, int] = {}
        self._places: dict[str, str] = {}
        self._locks: dict[str, contextlib.ExitStack] = {}  # of the runs that are carried out

    def begin(self, run: PlannedRun, place: str) -> tuple[int, dict[str, int]]:
        """Let a new attempt at a run begin; no earlier one and no other command may write then.

        Return its number, and the bytes of each file that the run has, by path.
        """
        if run.name not in self._locks:
            locks = contextlib.ExitStack()
            written = RunFiles(self._folder / run.csv_file, self._folder / run.prefix)
            locks.enter_context(written.held())
            self._locks[run.name] = locks
        attempt = self._attempts[run.name] = self._attempts.get(run.name, 0) + 1
        self._places[run.name] = place
        for folder in run.folders:
            remove_temporary_files(
                self._folder / folder, lambda path: run.owns(path.relative_to(self._folder))
            )
        files = [*run.files(self._folder), *([str(run.rom)] if run.rom else [])]
        return attempt, {path: (self._folder / path).stat().st_size for path in files}

    def read(self, path: str, offset: int) -> bytes:
        """Return a part of a file, from a byte on."""
        with (self._folder / path).open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK)

    def write(
        self, run: PlannedRun, attempt: int, path: str, offset: int, data: bytes, is_last: bool
    ) -> None:
        """Take a part of a file; parts come in their order, and the last puts it in its place."""
        if self._may_write(run, attempt, path):
            place = self._folder / path
            growing = place.with_name(f".{place.name}.{os.getpid()}.tmp")
            growing.parent.mkdir(parents=True, exist_ok=True)
            with growing.open("r+b" if offset else "wb") as file:
                file.seek(offset)
                file.truncate()
                file.write(data)
            if is_last:
                put_in_place(growing, place)

    def keep(self, run: PlannedRun, attempt: int, paths: Sequence[str]) -> None:
        """Remove the files of a run that are not among these."""
        for path in run.files(self._folder):
            if path not in paths and self._may_write(run, attempt, path):
                (self._folder / path).unlink(missing_ok=True)

    def end(self, run: PlannedRun) -> None:
        """Let other commands write the files of a run whose attempt has ended."""
        self._locks.pop(run.name, contextlib.ExitStack()).close()

    def places(self) -> dict[str, str]:
        """Where the runs that have begun are carried out, by name."""
        return self._places

    def _may_write(self, run: PlannedRun, attempt: int, path: str) -> bool:
        return attempt == self._attempts.get(run.name) and run.owns(Path(path))
