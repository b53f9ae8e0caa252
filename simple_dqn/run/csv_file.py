"""The CSV file of a run: a row for each phase, on disk as soon as the phase is over."""

import csv
import errno
import io
import logging
import os
from pathlib import Path

from simple_dqn.errors import UserError
from simple_dqn.files import sync_folder, write_atomically
from simple_dqn.statistics import COLUMNS, Row

logger = logging.getLogger(__name__)


class CsvWriter:
    """Adds rows to a CSV file; a `statistics.Writer`.

    A row that cannot be written (the disk is full) is kept and written with the next one, so that
    the run goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []  # not written yet

    def write(self, row: Row) -> None:
        """Add a row, after the header in a new file; it is synced to disk when this returns."""
        self._rows.append(row)
        try:
            self._append()
        except OSError as error:
            logger.warning(
                "cannot write %s: %s; the row is kept and written with the next one",
                self._path,
                error.strerror,
            )

    def close(self) -> None:
        """Write what is left.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            self._append()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error

    def _append(self) -> None:
        """Add the rows that are left, all or none."""
        if not self._rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        with self._path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                writer.writeheader()
            writer.writerows(self._rows)
            content = text.getvalue().encode()
            try:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)  # no half of a row
                raise
        if size == 0:
            sync_folder(self._path.parent)
        self._rows = []


def check_csv(csv_file: Path) -> None:
    """Check that rows can be added to a file: it is missing, empty or begins with our header.

    Raises:
        UserError: it is something else.
    """
    try:
        with csv_file.open() as file:
            header = file.readline()
    except FileNotFoundError:
        return
    except (OSError, UnicodeError):
        header = "unreadable"
    if header not in ("", ",".join(COLUMNS) + "\n"):
        raise UserError(f"{csv_file} is no CSV of this version; move it away or give --csv_file")


def phases_of(csv_file: Path, epoch: int) -> set[str]:
    """Return the phases of an epoch that a file has whole rows of."""
    lines = csv_file.read_text().splitlines(keepends=True) if csv_file.exists() else []
    return {line.split(",")[1] for line in lines[1:] if _is_whole(line, epoch, epoch)}


def keep_rows(csv_file: Path, last_epoch: int) -> None:
    """Drop the rows after an epoch and a broken last one, to go on from there."""
    if not csv_file.exists():
        return
    lines = csv_file.read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if _is_whole(line, 0, last_epoch)]
    if kept != lines:
        logger.info("%s: dropped the rows after epoch %d", csv_file, last_epoch)
        write_atomically(csv_file, "".join(kept).encode())


def _is_whole(line: str, first_epoch: int, last_epoch: int) -> bool:
    """Whether a line is a whole row of one of these epochs."""
    cells = line.split(",")
    whole = len(cells) == len(COLUMNS) and line.endswith("\n")
    return whole and first_epoch <= int(cells[0]) <= last_epoch
