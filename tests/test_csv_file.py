"""The CSV file of a run: written row by row, checked, cut back to an epoch."""

import csv
from pathlib import Path

import pytest

from simple_dqn.checkpoints.csv_file import CsvWriter, keep_rows, read_csv
from simple_dqn.errors import UserError
from simple_dqn.statistics import COLUMNS


def test_a_row_that_cannot_be_written_waits_for_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here a file is in the folder's place for a while; a row that is left at the end is an error.

    What is on the disk stays complete, since the file is replaced; test_kills.py fills the disk.
    """
    csv_file = tmp_path / "blocked" / "pong.csv"
    csv_file.parent.touch()
    writer = CsvWriter(csv_file)
    writer.write(dict.fromkeys(COLUMNS, 0))
    assert "cannot write" in caplog.text
    with pytest.raises(UserError, match="cannot write"):
        writer.close()
    csv_file.parent.unlink()
    writer.write(dict.fromkeys(COLUMNS, 1))
    writer.close()
    assert [line[0] for line in csv_file.read_text().splitlines()] == ["e", "0", "1"]


def rows(csv_file: Path) -> list[tuple[str, str]]:
    lines = csv_file.read_text().splitlines()
    return [(row["epoch"], row["phase"]) for row in csv.DictReader(lines)]


def test_keep_rows_goes_back_to_an_epoch(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    for epoch, phase in ((0, "random"), (1, "train"), (1, "test"), (2, "train"), (2, "test")):
        CsvWriter(csv_file).write({**dict.fromkeys(COLUMNS, 0), "epoch": epoch, "phase": phase})
    whole = csv_file.read_bytes()
    kept = read_csv(csv_file)
    assert [(row.epoch, row.phase) for row in kept][-2:] == [(2, "train"), (2, "test")]
    keep_rows(csv_file, kept)
    assert csv_file.read_bytes() == whole
    keep_rows(csv_file, kept[:3])
    assert rows(csv_file) == [("0", "random"), ("1", "train"), ("1", "test")]
    csv_file.write_bytes(csv_file.read_bytes() + b"2,train,17")  # broken off
    assert len(read_csv(csv_file)) == 3
    keep_rows(csv_file, read_csv(csv_file))
    assert csv_file.read_bytes().endswith(b"\n")
    assert rows(csv_file)[-1] == ("1", "test")
    keep_rows(tmp_path / "missing.csv", [])
    assert not (tmp_path / "missing.csv").exists()


HEADER = ",".join(COLUMNS).encode()
ROWS = [b"x,train", b"1,train,x", b"nan" + b",0" * 17, b"1,train" + b",x" * 16]


@pytest.mark.parametrize(
    "content",
    [b"a,b\nhello,world\n", b"\xff\xfe\x00", *(HEADER + b"\n" + row + b"\n" for row in ROWS)],
)
def test_foreign_files_are_not_continued(tmp_path: Path, content: bytes) -> None:
    csv_file = tmp_path / "foreign.csv"
    csv_file.write_bytes(content)
    with pytest.raises(UserError, match="is not a CSV file of this version"):
        read_csv(csv_file)


def test_a_file_of_an_older_version_is_continued(tmp_path: Path) -> None:
    """It had no column `dead_units`."""
    csv_file = tmp_path / "pong.csv"
    csv_file.write_text(",".join(COLUMNS[:-1]) + "\n1,train" + ",0" * 15 + "\n")
    keep_rows(csv_file, read_csv(csv_file))
    CsvWriter(csv_file).write(dict.fromkeys(COLUMNS, 2))
    assert [row.values["dead_units"] for row in read_csv(csv_file)] == ["nan", "2"]


def test_own_empty_and_missing_files_are_continued(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    for _ in range(2):
        assert read_csv(csv_file) == []
        csv_file.touch()
    for number in (1, 2, 3):  # on disk at once, the header only first
        CsvWriter(csv_file).write(dict.fromkeys(COLUMNS, number))
        lines = csv_file.read_text().splitlines()
        assert len(lines) == 1 + number == 1 + len(read_csv(csv_file))
        assert lines[0] == ",".join(COLUMNS)
