"""The shell scripts, called as a person would, from a folder with spaces in its path."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
OPTIONS = (
    "--screen_width 36 --screen_height 36 --replay_size 500 --random_steps 60 --train_steps 60 "
    "--test_steps 60 --epochs 1 --random_seed 0"
)
TINY = OPTIONS.split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The scripts in a project folder of their own; the environment of these tests is active."""
    project = tmp_path_factory.mktemp("scripts") / "my project"
    shutil.copytree(REPOSITORY / "scripts", project / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", project)
    yield project
    assert not (project / ".venv").exists()


def start(
    project: Path, script: str, *arguments: str, cwd: Path, **variables: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(project / "scripts" / script), *arguments],
        cwd=cwd,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(project: Path, script: str, *arguments: str, cwd: Path, status: int = 0) -> tuple[str, str]:
    process = start(project, script, *arguments, cwd=cwd)
    output, errors = process.communicate()
    assert process.returncode == status, errors
    return output, errors


def test_train_test_resume_plot_report(project: Path, tmp_path: Path) -> None:
    """Wherever they are called from, they work in the project's folders."""
    run(project, "train.sh", "pong", "my-label", *TINY, cwd=tmp_path)
    csv_file = project / "results" / "pong_my-label.csv"
    snapshot = project / "snapshots" / "pong_my-label_1.safetensors"
    assert len(csv_file.read_text().splitlines()) == 4
    given = os.path.relpath(snapshot, tmp_path)
    output, _ = run(project, "test.sh", given, cwd=tmp_path)
    assert "No game ended" in output  # in so few steps
    run(project, "resume.sh", given, "--epochs", "2", cwd=tmp_path)
    assert len(csv_file.read_text().splitlines()) == 6
    output, _ = run(project, "plot.sh", str(csv_file), cwd=tmp_path)
    assert Path(output.strip()).read_bytes().startswith(b"\x89PNG")
    output, _ = run(project, "report.sh", str(REPOSITORY / "results"), "--output", "a", cwd=project)
    assert "| road_runner_s1 | 1 |" in output
    assert (project / "a_scores.png").read_bytes().startswith(b"\x89PNG")
    _, errors = run(project, "train.sh", "pong", "my-label", *TINY, cwd=tmp_path, status=1)
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


SHORT = {
    "profile_train.sh": "--random_steps 100 --train_steps 40",
    "profile_test.sh": "--test_steps 40",
    "profile_random.sh": "--random_steps 100",
}


@pytest.mark.parametrize("script", list(SHORT))
def test_profiles_show_where_the_time_goes(project: Path, tmp_path: Path, script: str) -> None:
    output, _ = run(project, script, *SHORT[script].split(), cwd=tmp_path)
    assert "tottime" in output
    assert "observe" in output
    assert ("get_minibatch" in output) == (script == "profile_train.sh")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_cleanly(project: Path, tmp_path: Path, kind: signal.Signals) -> None:
    """Ctrl-C in the first epoch: one line and status 130; the phase that ended is in the CSV."""
    label = f"signal-{kind.name}"
    endless = [*TINY, "--train_steps", "1000000"]
    process = start(project, "train.sh", "pong", label, *endless, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 0 random" in line:
            break
    process.send_signal(kind)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    lines = (project / "results" / f"pong_{label}.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["phase", "random"]


def test_links_and_cdpath_do_not_mislead_a_script(project: Path, tmp_path: Path) -> None:
    """A relative link to a link; with CDPATH, `cd scripts/..` may go elsewhere and print where."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin" / "dqn").symlink_to(project / "scripts" / "train.sh")
    (tmp_path / "dqn-train").symlink_to(Path("bin") / "dqn")
    none = [*TINY, "--train_steps", "0", "--test_steps", "0"]
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    subprocess.run(
        ["./dqn-train", "pong", "linked", *none], cwd=tmp_path, env=environment, check=True
    )
    environment["CDPATH"] = f"{tmp_path}:."
    subprocess.run(
        ["scripts/train.sh", "pong", "cdpath", *none], cwd=project, env=environment, check=True
    )
    assert {f"pong_{name}.csv" for name in ("linked", "cdpath")} <= {
        path.name for path in (project / "results").iterdir()
    }
    assert not (tmp_path / "results").exists()


def test_files_of_the_current_folder_are_no_modules(project: Path, tmp_path: Path) -> None:
    """Whoever starts a script in a folder of downloads runs nothing of what lies there."""
    names = ("random", "statistics", "numpy", "torch", "typing", "ale_py", "tqdm", "simple_dqn")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    table = tmp_path / "pong.csv"
    shutil.copy(REPOSITORY / "results" / "pong_s1.csv", table)
    run(project, "plot.sh", "pong.csv", cwd=tmp_path)
    run(project, "train.sh", "pong", "trap", *TINY, "--train_steps", "0", cwd=tmp_path)
    run(project, "profile_random.sh", *SHORT["profile_random.sh"].split(), cwd=tmp_path)
    assert not (tmp_path / "executed").exists()
