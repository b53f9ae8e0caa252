"""The files that a run writes: where they are, who may write them, and what is left of others."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simple_dqn.checkpoints.csv_file import CsvRow
from simple_dqn.checkpoints.memory_pieces import Piece
from simple_dqn.checkpoints.snapshot import (
    Snapshot,
    epoch_pattern,
    files_of_epochs,
    run_snapshots,
)
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, locked, remove_temporary_files

logger = logging.getLogger(__name__)

_LONGEST = "_1234567.training.safetensors"  # that follows on the prefix


class RunFiles(NamedTuple):
    """Where a run writes."""

    csv_file: Path
    prefix: Path  # of its snapshots

    def check(self) -> None:
        """Check that files can be written there.

        Raises:
            UserError: they cannot.
        """
        if not self.prefix.name or self.prefix.is_dir():
            raise UserError(
                f"--save_weights_prefix {self.prefix} is a folder; give the beginning of the "
                f"snapshots' names, too, for example {self.prefix / 'pong'}"
            )
        check_writable(self.csv_file)
        check_writable(self.prefix.with_name(self.prefix.name + _LONGEST))

    def refuse_to_overwrite(self, game: str) -> None:
        """Check that there are no files of an earlier run.

        Raises:
            UserError: there are.
        """
        snapshots = list(run_snapshots(self.prefix).values())
        existing = [path for path in (self.csv_file, *snapshots) if path.exists()]
        if existing:
            resume = f"scripts/resume.sh {snapshots[-1]} continues it, " if snapshots else ""
            raise UserError(
                f"{existing[0]} is there from an earlier run: {resume}scripts/train.sh {game} "
                "LABEL names this run differently, --overwrite true replaces the earlier run"
            )

    def refuse_foreign(self, rows: Sequence[CsvRow], snapshot: Snapshot) -> None:
        """Check that the rows in the CSV file are of the run that wrote a snapshot.

        Raises:
            UserError: they are of another one.
        """
        if rows and snapshot.header["total_time"] not in (0, *(row.total_time for row in rows)):
            raise UserError(
                f"{self.csv_file} has no row of the run that wrote {snapshot.path}; give "
                "--csv_file the file with the rows of this run, or a new one"
            )

    def refuse_to_drop(self, rows: Sequence[CsvRow], epoch: int) -> None:
        """Check that resuming from an epoch drops no more than one training, which is repeated.

        Raises:
            UserError: there are later epochs.
        """
        snapshots = run_snapshots(self.prefix)
        finished = [row.epoch for row in rows if row.phase == "test" or row.epoch > epoch + 1]
        last = max([*snapshots, *finished], default=epoch)
        if last > epoch:
            resume = f"resume {snapshots[last]}, or " if last in snapshots else ""
            raise UserError(
                f"epoch {epoch} is not the last of this run: {resume}give --overwrite true to drop "
                f"the epochs {epoch + 1} to {last} and their rows in {self.csv_file}"
            )

    def remove_after(self, epoch: int) -> None:
        """Remove the files of later epochs, and what a run that was killed left half written."""
        for number, kind, path in files_of_epochs(self.prefix):
            if number > epoch:
                if kind == "safetensors":
                    logger.info("removing %s", path)
                path.unlink(missing_ok=True)
        # NB! Not those of `pong_s10`, which may be writing, where this run is `pong_s1`.
        remove_temporary_files(self.csv_file.parent, self.csv_file.name.__eq__)
        remove_temporary_files(self.prefix.parent, epoch_pattern(self.prefix).fullmatch)

    def keep_only(self, epoch: int, pieces: Iterable[Piece]) -> None:
        """Remove what only resuming from other epochs needs.

        Args:
            epoch: from whose end the run can be resumed.
            pieces: of the replay memory that this needs.
        """
        names = {piece.name for piece in pieces}
        for number, kind, path in files_of_epochs(self.prefix):
            needless = kind == "training.safetensors" and number != epoch
            if needless or (kind == "memory" and path.name not in names):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def interrupts_explained(self) -> Iterator[None]:
        """Let an interrupt of the run say what the run leaves, and how to continue.

        Raises:
            KeyboardInterrupt: with this text, in place of one without.
        """
        try:
            yield
        except KeyboardInterrupt as interrupt:
            left = [f"finished phases are in {self.csv_file}"] if self.csv_file.exists() else []
            snapshots = list(run_snapshots(self.prefix).values())
            resume = "there is no snapshot yet to resume from"
            if snapshots:
                resume = f"scripts/resume.sh {snapshots[-1]} continues the run"
            raise KeyboardInterrupt(*left, resume) from interrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold locks on the files, so that no other run writes them.

        Raises:
            UserError: another run holds one.
        """
        with contextlib.ExitStack() as stack:
            for path in self:
                stack.enter_context(locked(path.with_name(f".{path.name}.lock"), path))
            yield
