"""The CSV file of a run: a row for each phase, on disk as soon as the phase is over."""

import csv
import errno
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from simple_dqn.errors import UserError, refusing
from simple_dqn.files import interrupts_held, sync_folder, write_atomically
from simple_dqn.statistics import COLUMNS, Row, Writer

logger = logging.getLogger(__name__)

_HEADER = ",".join(COLUMNS) + "\n"


class CsvWriter(Writer):
    """Adds rows to a CSV file.

    A row that cannot be written (the disk is full) is kept and written with the next one, so that
    the run continues.
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
        """Add the rows that are left, all or none; a request to stop waits, so none comes twice."""
        if not self._rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        with interrupts_held() as raise_interrupts:
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
            self._rows = []
            if size == 0:
                sync_folder(self._path.parent)
        raise_interrupts()


class CsvRow(NamedTuple):
    """A complete row of a CSV file."""

    epoch: int
    phase: str
    total_time: float
    line: str


def read_csv(csv_file: Path) -> list[CsvRow]:
    """Read the rows of a file to which rows can be added; a missing or empty file has none.

    A last row of which a power cut left a part is left out.

    Raises:
        UserError: the file is something else.
    """
    foreign = f"{csv_file} is not a CSV file of this version; move it away or give --csv_file"
    with refusing(foreign):
        text = csv_file.read_text("utf-8") if csv_file.exists() else ""
        header, *lines = text.splitlines(keepends=True) or [_HEADER]
        if header != _HEADER:
            raise UserError(foreign)
        if lines and not lines[-1].endswith("\n"):
            del lines[-1]
        rows = [dict(zip(COLUMNS, line.rstrip("\n").split(","), strict=True)) for line in lines]
        return [
            CsvRow(int(row["epoch"]), row["phase"], float(row["total_time"]), line)
            for row, line in zip(rows, lines, strict=True)
        ]


def keep_rows(csv_file: Path, rows: Sequence[CsvRow]) -> None:
    """Leave only these rows in a file, so that a run can continue after them."""
    content = "".join([_HEADER, *(row.line for row in rows)]).encode()
    if csv_file.exists() and csv_file.read_bytes() not in (b"", content):
        logger.info("%s: left only the rows of what was finished", csv_file)
        write_atomically(csv_file, content)
