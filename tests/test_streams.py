"""Standard streams that are closed, full or without a reader, and terminals that go away."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import InTerminal

from simple_dqn.main import main

SECONDS = 60
TRAIN = (
    "train CartPole-v1 --environment gym --network 8 --replay_size 500 --random_steps 60 "
    "--train_steps 60 --test_steps 60 --test_games 0 --epochs 1 --random_seed 0"
)
COMMAND = [sys.executable, "-m", "simple_dqn"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMPLE_DQN_ROOT", str(folder))
        assert main(TRAIN.split()) == 0
    return folder


def call(redirections: str, arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the shell's redirections; `|` is a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    redirections = redirections.replace("|", f"&{writer}")
    result = subprocess.run(
        ["bash", "-c", f"exec {shlex.join(COMMAND)} {arguments} {redirections}"],
        cwd=cwd,
        env={**os.environ, "SIMPLE_DQN_ROOT": str(cwd)},
        capture_output=True,
        pass_fds=[writer],
        text=True,
        timeout=SECONDS,
    )
    os.close(writer)
    return result


FULL = ["simple_dqn: cannot write to standard output: No space left on device"]


@pytest.mark.parametrize(
    ("arguments", "redirection", "status", "message"),
    [
        ("--help", ">|", 141, []),  # as a shell has it
        ("--help", ">/dev/full", 1, FULL),
        ("--help", "2>|", 0, []),
        ("test snapshots/CartPole-v1_1.safetensors", ">| 2>|", 141, []),
        ("test snapshots/CartPole-v1_1.safetensors", ">/dev/full", 1, FULL),
        ("", "2>|", 2, []),
        ("train --epochs -1", "2>/dev/full", 2, []),
    ],
)
def test_streams_that_are_full_or_that_nobody_reads(
    trained: Path, arguments: str, redirection: str, status: int, message: list[str]
) -> None:
    result = call(redirection, arguments, cwd=trained)
    errors = [line for line in result.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert (result.returncode, errors) == (status, message)
    assert bool(result.stdout) == (status == 0)


@pytest.mark.parametrize("redirection", ["2>| >|", "2>/dev/full"])
def test_training_outlives_its_log(trained: Path, tmp_path: Path, redirection: str) -> None:
    """The files are those of a run that can write its log; nothing of the log is in them."""
    result = call(redirection, TRAIN, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    name = "snapshots/CartPole-v1_1.safetensors"
    assert weights(tmp_path / name) == weights(trained / name)
    csv_file = (tmp_path / "results" / "CartPole-v1.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in csv_file] == ["phase", "random", "train", "test"]


def weights(path: Path) -> bytes:
    """What follows the header, in which the time of the run is."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def in_terminal(arguments: str, cwd: Path, ignored: signal.Signals | None = None) -> InTerminal:
    command = [*COMMAND, *arguments.split()]
    return InTerminal(command, cwd, ignored=ignored, SIMPLE_DQN_ROOT=str(cwd))


def test_training_ends_with_its_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Ctrl-C: what was finished is there, and resuming continues from it."""
    command = in_terminal(f"{TRAIN} --epochs 9 --train_steps 3000", tmp_path)
    command.wait_for("_1.safetensors")  # 0 is written before any training
    assert command.go_away() == 130
    lines = (tmp_path / "results" / "CartPole-v1.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines][:3] == ["phase", "random", "train"]
    monkeypatch.setenv("SIMPLE_DQN_ROOT", str(tmp_path))
    last = tmp_path / "snapshots" / "CartPole-v1_1.safetensors"
    assert main(["resume", str(last), "--epochs", "2", "--train_steps", "60"]) == 0


def test_training_that_ignores_hangups_outlives_its_terminal(trained: Path, tmp_path: Path) -> None:
    """`nohup`: there is no place for the progress bar any more, and the run continues."""
    command = in_terminal(TRAIN, tmp_path, ignored=signal.SIGHUP)
    command.wait_for("random")
    assert command.go_away() == 0
    name = "snapshots/CartPole-v1_1.safetensors"
    assert weights(tmp_path / name) == weights(trained / name)


def test_a_game_ends_with_its_terminal(tmp_path: Path) -> None:
    """What the person played is kept."""
    command = in_terminal(
        "play pong --display terminal --record_experience mine.safetensors", tmp_path
    )
    command.wait_for("You play   score 0", keys="p")
    command.wait_for("paused", keys="n-")  # one step
    command.wait_for("speed 0.5")
    assert command.go_away() == 0
    assert list(tmp_path.glob("mine.*"))


def test_a_name_may_have_letters_that_standard_output_lacks(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An umlaut where the output is ASCII, and a byte that is not UTF-8."""
    file = os.fsdecode(b"l\xc3\xa4ufe\xff")
    (trained / f"{file}.csv").write_bytes((trained / "results" / "CartPole-v1.csv").read_bytes())
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = call("", f"plot '{file}.csv'", cwd=trained)
    assert (result.returncode, result.stdout) == (0, "l\\xe4ufe\\udcff.png\n"), result.stderr
