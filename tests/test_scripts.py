"""The shell scripts, called as a person would, from a folder with spaces in its path."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_dqn.options.commands import COMMANDS

REPOSITORY = Path(__file__).parent.parent
OPTIONS = (
    "--environment gym --network 8 --replay_size 500 --random_steps 60 --train_steps 60 "
    "--test_steps 60 --test_games 0 --epochs 1 --random_seed 0"
)
TRAIN = ["train.sh", "CartPole-v1"]
TINY = OPTIONS.split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The scripts in a project folder of their own; the environment of these tests is active."""
    project = tmp_path_factory.mktemp("scripts") / "my project"
    shutil.copytree(REPOSITORY / "scripts", project / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", project)
    yield project
    assert not (project / ".venv").exists()


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a person starts scripts: no file of it is taken for a module."""
    names = ("random", "statistics", "numpy", "torch", "typing", "ale_py", "tqdm", "simple_dqn")
    for name in names:
        (tmp_path / f"{name}.py").write_text("open('executed', 'w')\n")
    yield tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.py" for name in names}


def start(project: Path, script: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(project / "scripts" / script), *arguments],
        cwd=cwd,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(project: Path, script: str, *arguments: str, cwd: Path) -> str:
    process = start(project, script, *arguments, cwd=cwd)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def test_train_resume_plot(project: Path, downloads: Path) -> None:
    """Wherever they are called from, they work in the project's folders."""
    run(project, *TRAIN, "my-label", *TINY, cwd=downloads)
    csv_file = project / "results" / "CartPole-v1_my-label.csv"
    snapshot = project / "snapshots" / "CartPole-v1_my-label_1.safetensors"
    assert len(csv_file.read_text().splitlines()) == 4
    run(project, "resume.sh", os.path.relpath(snapshot, downloads), "--epochs", "2", cwd=downloads)
    assert len(csv_file.read_text().splitlines()) == 6
    output = run(project, "plot.sh", str(csv_file), cwd=downloads)
    assert Path(output.strip()).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"suite"}))
def test_a_script_is_its_command(project: Path, downloads: Path, name: str) -> None:
    """That of suites installs more libraries."""
    output = run(project, f"{name}.sh", "--help", cwd=downloads)
    assert output.startswith(f"usage: simple-dqn {COMMANDS[name].usage} ")


SHORT = {
    "profile_train.sh": "--random_steps 100 --train_steps 40",
    "profile_test.sh": "--test_steps 40",
}


@pytest.mark.parametrize("script", list(SHORT))
def test_profiles_show_where_the_time_goes(project: Path, downloads: Path, script: str) -> None:
    output = run(project, script, *SHORT[script].split(), cwd=downloads)
    assert "tottime" in output
    assert "observe" in output
    assert ("get_minibatch" in output) == (script == "profile_train.sh")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_cleanly(project: Path, downloads: Path, kind: signal.Signals) -> None:
    """Ctrl-C in the first epoch: one line and status 130; the phase that ended is in the CSV."""
    label = f"signal-{kind.name}"
    endless = [*TINY, "--train_steps", "1000000"]
    process = start(project, *TRAIN, label, *endless, cwd=downloads)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 0 random" in line:
            break
    process.send_signal(kind)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    lines = (project / "results" / f"CartPole-v1_{label}.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["phase", "random"]


def test_links_and_cdpath_do_not_mislead_a_script(project: Path, tmp_path: Path) -> None:
    """A relative link to a link; with CDPATH, `cd scripts/..` may go elsewhere and print where."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin" / "dqn").symlink_to(project / "scripts" / "train.sh")
    (tmp_path / "dqn-train").symlink_to(Path("bin") / "dqn")
    subprocess.run(
        ["./dqn-train", *TRAIN[1:], "linked", *TINY, "--train_steps", "0", "--test_steps", "0"],
        cwd=tmp_path,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, "CDPATH": f"{tmp_path}:."},
        check=True,
    )
    assert (project / "results" / "CartPole-v1_linked.csv").exists()
    assert not (tmp_path / "results").exists()
