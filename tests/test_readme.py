"""README says what is so: its columns, files and commands."""

import re
from pathlib import Path

import pytest

from simple_dqn.run.command_line import COMMANDS
from simple_dqn.statistics import COLUMNS

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()


def test_columns_are_all_explained() -> None:
    table = README.split("## The CSV")[1].split("##")[0]
    rows = "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    assert re.findall(r"`(\w+)`", rows) == list(COLUMNS)


def test_files_are_there_and_all_named() -> None:
    named = set(re.findall(r"`(\w+\.(?:py|csv|c))`", README.split("## Reading the code")[1]))
    package = REPOSITORY / "simple_dqn"
    there = {path.name for path in (*package.rglob("*.py"), *package.rglob("*.c*"))}
    assert there - named == {"__init__.py", "__main__.py"}
    assert {name for name in named if not name.startswith("test_")} <= there
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / link).exists(), link


def test_every_deviation_is_told() -> None:
    """As many tags in the code as lines in the list."""
    code = "".join(path.read_text() for path in (REPOSITORY / "simple_dqn").rglob("*.py"))
    told = README.split("From the paper and DeepMind's code:")[1].split("From the original")[0]
    assert code.count("Deviates: ") == len(re.findall(r"^- ", told, re.MULTILINE)) > 3


@pytest.mark.parametrize("script", sorted(set(re.findall(r"scripts/(\w+\.sh)", README))))
def test_scripts_are_there(script: str) -> None:
    path = REPOSITORY / "scripts" / script
    assert path.stat().st_mode & 0o111
    command = path.stem
    assert command in COMMANDS or command == "check" or command.startswith("profile")
