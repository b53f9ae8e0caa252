"""README and the documents in the folders say what is so: their columns, files, methods, links."""

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_in_terminal

from simple_dqn.statistics import COLUMNS

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "simple_dqn"
README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md")])

# `file.py: method`, as the table of the algorithm and that of the improvements name a place.
PLACES = sorted(set(re.findall(r"`([\w/]+\.py): ([\w.]+)`", README)))


def section(title: str, document: str = README) -> str:
    """What is under a heading of the second level."""
    return document.split(f"\n## {title}\n")[1].split("\n## ")[0]


def names_in(path: Path) -> set[str]:
    """The functions, classes and `Class.method`s that a file defines."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


def test_readme_is_short() -> None:
    assert len(README.encode()) <= 12_000
    lines = README.splitlines()
    assert len(lines) <= 230
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_columns_are_all_explained() -> None:
    table = section("The CSV", (REPOSITORY / "results" / "README.md").read_text())
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE) == list(COLUMNS)


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_places_are_there(file: str, name: str) -> None:
    assert name in names_in(PACKAGE / file)


def test_tree_is_there_and_whole() -> None:
    """Each file and folder of the tree exists, and each of the package is in it."""
    cells = re.findall(r"^\| (`.+?`) \| ", section("The code"), re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([\w./]+)`", cell)}
    files = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert named == files | folders


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_are_there(document: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
        assert (document.parent / link).exists(), link


def test_every_deviation_is_told() -> None:
    """As many tags in the code as lines in the list."""
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    commands = (REPOSITORY / "scripts" / "README.md").read_text()
    told = re.findall(r"^- ", section("Known differences", commands), re.MULTILINE)
    assert code.count("Deviates: ") == len(told) > 3


@pytest.fixture
def shipped() -> set[str]:
    """The files that belong to the repository; a user's own may lie beside them."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone")
    command = ["git", "-C", str(REPOSITORY), "ls-files"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def test_pictures_are_shown_and_small(shipped: set[str]) -> None:
    shown = {
        str((document.parent / link).resolve().relative_to(REPOSITORY))
        for document in DOCUMENTS
        for link in re.findall(r"!\[.+?\]\((.+?)\)", document.read_text())
    }
    pictures = {name for name in shipped if name.endswith((".png", ".gif", ".webp"))}
    assert pictures == shown
    assert all((REPOSITORY / name).stat().st_size <= 2_000_000 for name in pictures)


# What makes the commands of the documents short.
_FEW_STEPS = "--replay_size 1000 --random_steps 40 --train_steps 40 --test_games 0 --test_steps 40"
_SHORT_GAME = "--frame_skip 200 --random_starts 0 --exploration_rate_test 1"
_SHORTER = {
    "train.sh": _FEW_STEPS,
    "test.sh": "--test_games 0 --test_steps 40",
    "play.sh": "--display terminal",
    "record.sh": "--seconds 1",
    "nvis.sh": f"{_SHORT_GAME} --visualization_filters 1",
    "benchmark.sh": f"{_FEW_STEPS} --network nips --seconds 0.01",
}


def commands_in(document: Path) -> list[list[str]]:
    """The commands of a document, but for those with a placeholder, as words."""
    commands = []
    for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"^PYTHONPATH=\. ", "", line), comments=True)
            if words and not any(word.isalpha() and word.isupper() for word in words):
                commands.append(words)
    return commands


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if commands_in(document)],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_every_command_works_in_a_fresh_clone(
    document: Path, shipped: set[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One after another, made short by more options; no file of the clone is replaced.

    Those of README always, those of the other documents with --every_command.
    """
    if document.parent != REPOSITORY and not request.config.getoption("every_command"):
        pytest.skip("needs --every_command")
    for name in shipped:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in shipped}
    for code, name in re.findall(
        r"^```python\n(# (\w+\.py)\n.*?)^```", document.read_text(), re.M | re.S
    ):
        (tmp_path / name).write_text(code)
    for script, *words in commands_in(document):
        if "LunarLander-v3" in words and importlib.util.find_spec("Box2D") is None:
            continue  # it needs a library that the project does not
        more = _SHORTER.get(Path(script).name, "").split()
        # Elsewhere a later command may name the last snapshot of a preset.
        if script.endswith("train.sh") and (
            document.parent == REPOSITORY or "--preset" not in words
        ):
            more += ["--network", "nips", "--epochs", "2"]
        status, output = run_in_terminal(
            [script, *words, *more],
            tmp_path,
            # A game makes a step and is left.
            keys=[("plays?   score", "n"), ("paused", "q")] if script.endswith("play.sh") else [],
            VIRTUAL_ENV=sys.prefix,
            PYTHONPATH=str(tmp_path),
        )
        assert status == 0, f"{shlex.join([script, *words])}: {output[-2000:]}"
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content, name
