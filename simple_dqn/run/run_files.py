"""The files that a run writes: where they are, who may write them, and what is left of others."""

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, locked, remove_temporary_files
from simple_dqn.run.snapshot import run_snapshots

logger = logging.getLogger(__name__)


class RunFiles(NamedTuple):
    """Where a run writes."""

    csv_file: Path
    prefix: Path  # of its snapshots

    def check(self) -> None:
        """Try that files can be written there.

        Raises:
            UserError: they cannot.
        """
        for path in self:
            check_writable(path.resolve().parent)

    def refuse_to_overwrite(self, game: str) -> None:
        """Stop if files of an earlier run are there.

        Raises:
            UserError: so it is.
        """
        existing = [self.csv_file, *run_snapshots(self.prefix).values()]
        existing = [path for path in existing if path.exists()]
        if existing:
            newest = existing[-1]
            resume = f"scripts/resume.sh {newest} goes on with it, "
            raise UserError(
                f"{existing[0]} is there from an earlier run: "
                f"{resume if newest.suffix != '.csv' else ''}"
                f"scripts/train.sh {game} LABEL names this run differently, "
                "--overwrite true replaces the earlier run"
            )

    def remove_after(self, epoch: int) -> None:
        """Remove the files of later epochs, and what a run that was killed left half done."""
        for number, path in run_snapshots(self.prefix).items():
            if number > epoch:
                logger.info("removing %s", path)
                path.unlink()
        name = re.escape(self.prefix.name)
        of_an_epoch = re.compile(name + r"_(\d+)\.(training\.safetensors|memory)")
        for path in self.prefix.parent.iterdir():
            if match := of_an_epoch.fullmatch(path.name):
                number, is_memory = int(match[1]), match[2] == "memory"
                if number > epoch or (number < epoch and not is_memory):
                    path.unlink(missing_ok=True)
        for path in self:
            remove_temporary_files(path.parent, path.name)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold locks on the files, so that no other run writes them.

        Raises:
            UserError: another run holds one.
        """
        with contextlib.ExitStack() as stack:
            for path in self:
                lock = path.with_name(f".{path.name}.lock")
                stack.enter_context(locked(lock, path))
            yield
