"""The files that a run writes: where they are, who may write them, and what is left of others."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simple_dqn.checkpoints.csv_file import CsvRow, best_test, read_csv
from simple_dqn.checkpoints.snapshot import Snapshot, epoch_pattern, files_of_epochs, run_snapshots
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, locked, remove, remove_temporary_files
from simple_dqn.options.schema import Piece

logger = logging.getLogger(__name__)

_LONGEST = "_1234567.training.safetensors"  # that follows on the prefix


class RunFiles(NamedTuple):
    """Where a run writes."""

    csv_file: Path
    prefix: Path  # of its snapshots

    def check(self) -> None:
        """Raise a `UserError` if files cannot be written there."""
        if not self.prefix.name or self.prefix.is_dir():
            raise UserError(
                f"--save_weights_prefix {self.prefix} is a folder; give the beginning of the "
                f"snapshots' names, too, for example {self.prefix / 'pong'}"
            )
        check_writable(self.csv_file)
        check_writable(self.prefix.with_name(self.prefix.name + _LONGEST))

    def refuse_to_overwrite(self, game: str) -> None:
        """Raise a `UserError` if there are files of an earlier run."""
        snapshots = list(run_snapshots(self.prefix).values())
        existing = [path for path in (self.csv_file, *snapshots) if path.exists()]
        if existing:
            resume = f"scripts/resume.sh {snapshots[-1]} continues it, " if snapshots else ""
            raise UserError(
                f"{existing[0]} is there from an earlier run: {resume}scripts/train.sh {game} "
                "LABEL names this run differently, --overwrite true replaces the earlier run"
            )

    def refuse_foreign(self, rows: Sequence[CsvRow], snapshot: Snapshot) -> None:
        """Raise a `UserError` if the CSV file has rows of another run than the snapshot's."""
        if rows and snapshot.header["total_time"] not in (0, *(row.total_time for row in rows)):
            raise UserError(
                f"{self.csv_file} has no row of the run that wrote {snapshot.path}; give "
                "--csv_file the file with the rows of this run, or a new one"
            )

    def refuse_to_drop(self, rows: Sequence[CsvRow], epoch: int) -> None:
        """Raise a `UserError` if resuming from an epoch drops more than one training."""
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
        """Remove the files of later epochs, after -1 the CSV file too, and what is half written."""
        later = [path for number, _, path in files_of_epochs(self.prefix) if number > epoch]
        if epoch < 0 and self.csv_file.exists():
            later.append(self.csv_file)
        if later:
            logger.info("removing %s to %s, %d files", later[0], later[-1].name, len(later))
            remove(later)
        # NB! Not those of `pong_s10`, which may be writing, where this run is `pong_s1`.
        remove_temporary_files(self.csv_file.parent, self.csv_file.__eq__)
        pattern = epoch_pattern(self.prefix)
        remove_temporary_files(self.prefix.parent, lambda path: pattern.fullmatch(path.name))

    def keep_only(self, epoch: int, pieces: Iterable[Piece], snapshots: int | None) -> None:
        """Remove what resuming from the last epoch, with these pieces of the memory, does not need.

        Of the snapshots, so many of the last ones stay, and the best of those that were tested;
        None: all.
        """
        names = {piece.name for piece in pieces}
        epochs = list(run_snapshots(self.prefix))
        if snapshots is not None:
            best = best_test(read_csv(self.csv_file))
            epochs = epochs[-snapshots:] + ([best.epoch] if best else [])
        needed = {"safetensors": epochs, "training.safetensors": [epoch]}
        for number, kind, path in files_of_epochs(self.prefix):
            if number not in needed.get(kind, ()) and path.name not in names:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def interrupts_explained(self) -> Iterator[None]:
        """Let an interrupt of the run say what the run leaves, and how to continue."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            left = [f"finished phases are in {self.csv_file}"] if self.csv_file.exists() else []
            snapshots = list(run_snapshots(self.prefix).values())
            left += [f"scripts/resume.sh {path} continues the run" for path in snapshots[-1:]]
            if not snapshots:
                left.append("there is no snapshot yet to resume from")
            raise KeyboardInterrupt(*left) from interrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold locks on the files, or raise a `UserError` if another run holds one."""
        with contextlib.ExitStack() as stack:
            for path in self:
                stack.enter_context(locked(path.with_name(f".{path.name}.lock"), path))
            yield
