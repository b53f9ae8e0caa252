"""The package as people install it: a wheel, used far from the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
OPTIONS = (
    "--environment gym --network 8 --replay_size 500 --random_steps 60 --train_steps 60 "
    "--test_steps 60 --test_games 0 --epochs 1 --random_seed 0"
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program that knows nothing of the repository, and return what it prints."""
    hidden = {"PYTHONPATH", "SIMPLE_DQN_ROOT"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built in a copy of the sources: building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        REPOSITORY / "simple_dqn",
        source / "simple_dqn",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("simple_dqn-*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel, and with the libraries of this one."""
    venv = tmp_path_factory.mktemp("venv") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index")
    run(*pip, "--no-deps", wheel, cwd=venv.parent)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    # Only the folder is added: the .pth files in it, an editable installation's too, stay unread.
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Folders are found by themselves; sources, presets, tables and py.typed are all there."""
    package = REPOSITORY / "simple_dqn"
    files = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files
    assert {"simple_dqn/py.typed", "simple_dqn/options/presets/laptop.toml"} <= held


def test_the_installed_package_trains_plots_and_films(programs: Path, tmp_path: Path) -> None:
    """In any folder; the files land in folders there."""
    where = run(
        programs / "python", "-c", "import simple_dqn; print(simple_dqn.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(programs.parent)
    command = programs / "simple-dqn"
    run(command, "train", "CartPole-v1", "tiny", *OPTIONS.split(), cwd=tmp_path)
    run(command, "plot", "results/CartPole-v1_tiny.csv", cwd=tmp_path)
    run(command, "record", "snapshots/CartPole-v1_tiny_1.safetensors", cwd=tmp_path)
    written = [path for path in tmp_path.rglob("*.*") if path.suffix != ".lock"]
    assert sorted(str(path.relative_to(tmp_path)) for path in written) == [
        "results/CartPole-v1_tiny.csv",
        "results/CartPole-v1_tiny.png",
        "snapshots/CartPole-v1_tiny_0.memory",
        "snapshots/CartPole-v1_tiny_0.safetensors",
        "snapshots/CartPole-v1_tiny_1.memory",
        "snapshots/CartPole-v1_tiny_1.safetensors",
        "snapshots/CartPole-v1_tiny_1.training.safetensors",
        "videos/CartPole-v1_tiny_1.mp4",
    ]
