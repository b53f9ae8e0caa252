"""The CSV file of a run: written row by row, checked, cut back to an epoch."""

import csv
from pathlib import Path

import pytest

from simple_dqn.errors import UserError
from simple_dqn.run.csv_file import CsvWriter, check_csv, keep_rows
from simple_dqn.statistics import COLUMNS


def test_rows_are_on_disk_at_once_and_the_header_only_first(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    writer = CsvWriter(csv_file)
    for number in (1, 2, 3):
        writer.write(dict.fromkeys(COLUMNS, number))
        lines = csv_file.read_text().splitlines()
        assert len(lines) == 1 + number
        assert lines[0] == ",".join(COLUMNS)


def test_unwritable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        CsvWriter(tmp_path / "missing" / "pong.csv").write(dict.fromkeys(COLUMNS, 0))


def rows(csv_file: Path) -> list[tuple[str, str]]:
    lines = csv_file.read_text().splitlines()
    return [(row["epoch"], row["phase"]) for row in csv.DictReader(lines)]


def test_keep_rows_goes_back_to_an_epoch(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    for epoch, phase in ((0, "random"), (1, "train"), (1, "test"), (2, "train"), (2, "test")):
        CsvWriter(csv_file).write({**dict.fromkeys(COLUMNS, 0), "epoch": epoch, "phase": phase})
    whole = csv_file.read_bytes()
    assert keep_rows(csv_file, 2) == {"train", "test"}
    assert csv_file.read_bytes() == whole
    assert keep_rows(csv_file, 1) == {"train", "test"}
    assert rows(csv_file) == [("0", "random"), ("1", "train"), ("1", "test")]
    csv_file.write_bytes(csv_file.read_bytes() + b"2,train,17")  # broken off
    assert keep_rows(csv_file, 2) == set()
    assert rows(csv_file)[-1] == ("1", "test")
    assert keep_rows(tmp_path / "missing.csv", 1) == set()


@pytest.mark.parametrize("content", [b"a,b\nhello,world\n", b"\xff\xfe\x00", b"one\ntwo\n"])
def test_foreign_files_are_not_continued(tmp_path: Path, content: bytes) -> None:
    csv_file = tmp_path / "foreign.csv"
    csv_file.write_bytes(content)
    with pytest.raises(UserError, match="no CSV of this version"):
        check_csv(csv_file)


def test_own_empty_and_missing_files_are_continued(tmp_path: Path) -> None:
    csv_file = tmp_path / "pong.csv"
    check_csv(csv_file)
    csv_file.touch()
    check_csv(csv_file)
    CsvWriter(csv_file).write(dict.fromkeys(COLUMNS, 0))
    check_csv(csv_file)
    assert len(csv_file.read_text().splitlines()) == 2
