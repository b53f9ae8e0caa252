"""The CSV file of a run: a row for each phase, on disk as soon as the phase is over."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from simple_dqn.errors import UserError, refusing
from simple_dqn.files import errors_naming, interrupts_held, write_atomically
from simple_dqn.statistics import COLUMNS, Row, Writer

logger = logging.getLogger(__name__)

_HEADER = ",".join(COLUMNS) + "\n"
_OLDER_HEADER = _HEADER.replace(",dead_units", "")  # of versions before this column


class CsvWriter(Writer):
    """Adds rows to a CSV file, which is complete at any moment.

    A row that cannot be written (the disk is full) is kept and written with the next one, so that
    the run continues.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []  # not written yet

    def write(self, row: Row) -> None:
        """Add a row, after the header in a new file; it is synced to disk when this returns."""
        self._lines.append(",".join(str(row[column]) for column in COLUMNS) + "\n")
        try:
            self.close()
        except UserError as error:
            logger.warning("%s; the row is kept and written with the next one", error)

    def close(self) -> None:
        """Write the rows that are left; a request to stop waits, so that none is written twice."""
        with interrupts_held() as raise_interrupts, errors_naming(self._path):
            if self._lines:
                earlier = self._path.read_text("utf-8") if self._path.exists() else ""
                text = "".join([earlier or _HEADER, *self._lines])
                write_atomically(self._path, text.encode())
                self._lines = []
        raise_interrupts()


class CsvRow(NamedTuple):
    """A complete row of a CSV file; `values` are all of its columns, as they are in the file."""

    epoch: int
    phase: str
    total_time: float
    values: dict[str, str]


def read_csv(csv_file: Path) -> list[CsvRow]:
    """Read the rows of a file to which rows can be added; a missing or empty file has none.

    A last row of which a power cut left a part is left out. `dead_units` is nan in an older file. A
    file of something else raises a `UserError`.
    """
    foreign = f"{csv_file} is not a CSV file of this version; move it away or give --csv_file"
    with refusing(foreign):
        text = csv_file.read_text("utf-8") if csv_file.exists() else ""
        header, *lines = text.split("\n") if text else [_HEADER[:-1], ""]
        if header + "\n" not in (_HEADER, _OLDER_HEADER):
            raise UserError(foreign)
        missing = ["nan"] if header + "\n" == _OLDER_HEADER else []
        rows = [dict(zip(COLUMNS, line.split(",") + missing, strict=True)) for line in lines[:-1]]
        return [
            CsvRow(int(row["epoch"]), row["phase"], float(row["total_time"]), row) for row in rows
        ]


def best_test(rows: Sequence[CsvRow]) -> CsvRow | None:
    """Return the row of the first test with the highest score, if a game ended in a test."""
    tests = [row for row in rows if row.phase == "test" and row.values["average_reward"] != "nan"]
    return max(tests, key=lambda test: float(test.values["average_reward"]), default=None)


def keep_rows(csv_file: Path, rows: Sequence[CsvRow]) -> None:
    """Leave only these rows in a file, so that a run can continue after them."""
    lines = [",".join(row.values.values()) + "\n" for row in rows]
    content = "".join([_HEADER, *lines]).encode()
    if csv_file.exists() and csv_file.read_bytes() not in (b"", content):
        logger.info("%s: left only the rows of what was finished", csv_file)
        write_atomically(csv_file, content)
