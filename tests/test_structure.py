"""The structure of the package: its size, and which room may import which."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "simple_dqn"
CORE = ("agent", "environment", "state_buffer", "replay_memory", "deep_q_network")
# From the bottom to the top: a folder imports none that comes later. Files beside the folders are
# the algorithm, which `networks` lies below.
LAYERS = (
    ("networks",),
    ("algorithm",),
    ("environments", "memory"),
    ("options",),
    ("checkpoints",),
    ("run",),
    ("suite", "watch", "reports", "tabular"),
    ("commands",),
)
FREE = {"errors", "files", "streams", "__init__"}  # for every file
MOST_OF_PACKAGE, MOST_OF_TESTS = 13_150, 13_000
MOST_OF_FOLDER, MOST_OF_FILE, MOST_OF_CORE = 2_700, 400, 1_000


def lines(*files: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in files)


def test_sizes() -> None:
    """Lines of Python, docstrings included; `pytest -s` prints the table."""
    folders = {
        folder.name: lines(*folder.rglob("*.py"))
        for folder in sorted(PACKAGE.iterdir())
        if (folder / "__init__.py").exists()
    }
    core = lines(*(PACKAGE / f"{name}.py" for name in CORE))
    package = lines(*PACKAGE.rglob("*.py"))
    tests = lines(*(REPOSITORY / "tests").rglob("*.py"))
    table = {"core": core, **folders, "package": package, "tests": tests}
    print("\n".join(f"{name:14}{number:7,}" for name, number in table.items()))  # noqa: T201
    assert core <= MOST_OF_CORE
    assert package <= MOST_OF_PACKAGE
    assert tests <= MOST_OF_TESTS
    assert max(folders.values()) <= MOST_OF_FOLDER
    for path in PACKAGE.rglob("*.py"):
        assert lines(path) <= MOST_OF_FILE, path


def room(name: str) -> str:
    """The room of a module `simple_dqn.ROOM.FILE`; a file beside the folders is the algorithm."""
    first = name.split(".")[1] if "." in name else "__init__"
    if first in FREE or (PACKAGE / first).is_dir():
        return first
    return "algorithm"


def imports() -> list[tuple[Path, str]]:
    """Each file with each module of the package that it imports."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simple_dqn"):
                found += [(path, f"{node.module}.{name.name}") for name in node.names]
    return found


def test_arrows_point_down() -> None:
    levels = {name: level for level, names in enumerate(LAYERS) for name in names}
    up = []
    for path, module in imports():
        own = room(f"simple_dqn.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}")
        other = room(module)
        if path.stem in {"main", "__main__", "__init__"} or own in FREE or other in FREE:
            continue
        if levels[other] > levels[own]:
            up.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert up == []


@pytest.mark.parametrize("document", ["README.md", "results/README.md", "results/notebook.md"])
def test_files_that_a_document_names_are_tracked(document: str) -> None:
    """Those of results/, snapshots/ and videos/, which .gitignore hides from a commit."""
    tracked = set(
        subprocess.run(
            ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    )
    text = (REPOSITORY / document).read_text()
    names = set(re.findall(r"\]\(([\w./-]+\.\w+)[#)]", text))
    if document == "results/README.md":
        table = text.split("| file | content |")[1]
        for name in re.findall(r"`([\w.]+\.(?:csv|png|html))`", table.split("\n\n")[0]):
            names.add(name)
    folder = (REPOSITORY / document).parent
    missing = [
        name
        for name in sorted(names)
        if str((folder / name).resolve().relative_to(REPOSITORY)) not in tracked
        and not (folder / name).is_dir()
    ]
    assert missing == []
