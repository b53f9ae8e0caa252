"""Standard streams that are closed, full or without a reader, and terminals that go away."""

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SECONDS = 60
OPTIONS = (
    "--screen_width 36 --screen_height 36 --replay_size 500 --random_steps 60 --train_steps 60 "
    "--test_steps 60 --epochs 1 --random_seed 0"
)
TRAIN = ["train", "pong", *OPTIONS.split()]
COMMAND = [sys.executable, "-m", "simple_dqn"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    result = call("", *TRAIN, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def call(redirections: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the shell's redirections; `|` is a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    redirections = redirections.replace("|", f"&{writer}")
    result = subprocess.run(
        ["bash", "-c", f"exec {shlex.join([*COMMAND, *arguments])} {redirections}"],
        cwd=cwd,
        env={**os.environ, "SIMPLE_DQN_ROOT": str(cwd)},
        capture_output=True,
        pass_fds=[writer],
        text=True,
        timeout=SECONDS,
    )
    os.close(writer)
    return result


RESULTS = {
    "help": ["--help"],
    "help of a command": ["train", "--help"],
    "plot": ["plot", "results/pong.csv"],
    "test": ["test", "snapshots/pong_1.safetensors"],
}


REDIRECTIONS = [">|", ">/dev/full", "2>|", ">| 2>|"]


@pytest.mark.parametrize(
    ("name", "redirection"),
    [
        (name, redirection)
        for name in RESULTS
        for redirection in (REDIRECTIONS[:2] if name in {"plot", "test"} else REDIRECTIONS)
    ],
)
def test_a_result_that_nobody_can_read(trained: Path, name: str, redirection: str) -> None:
    """A reader that left: 141, as a shell has it; a full disk: a line and 1."""
    result = call(redirection, *RESULTS[name], cwd=trained)
    errors = [line for line in result.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    status, told = 0, []
    if redirection.startswith(">|"):
        status = 141
    elif redirection == ">/dev/full":
        status = 1
        told = ["simple_dqn: cannot write to standard output: No space left on device"]
    assert (result.returncode, errors) == (status, told)
    if redirection.startswith("2"):
        assert len(result.stdout) > 10


@pytest.mark.parametrize("redirection", ["2>| >|", "2>/dev/full"])
def test_training_outlives_its_log(trained: Path, tmp_path: Path, redirection: str) -> None:
    """The files are those of a run that can write its log; nothing of the log is in them."""
    result = call(redirection, *TRAIN, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    name = "snapshots/pong_1.safetensors"
    assert weights(tmp_path / name) == weights(trained / name)
    csv_file = (tmp_path / "results" / "pong.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in csv_file] == ["phase", "random", "train", "test"]


def weights(path: Path) -> bytes:
    """What follows the header, which tells the time that the run took."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.mark.parametrize("redirection", ["2>|", "2>/dev/full"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], 2), (["train", "--epochs", "-1"], 2), (["test", "no.safetensors"], 1)],
)
def test_mistakes_keep_their_status(
    tmp_path: Path, redirection: str, arguments: list[str], status: int
) -> None:
    result = call(redirection, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "")


def test_results_are_written_by_one_function() -> None:
    """So that what holds for the commands above holds for nvis, record and benchmark too."""
    users = {
        str(path.relative_to(REPOSITORY / "simple_dqn"))
        for path in (REPOSITORY / "simple_dqn").rglob("*.py")
        if "sys.stdout.write" in path.read_text()
    }
    assert users == {"streams.py", "watch/terminal.py"}


class InTerminal:
    """A command in a terminal of its own, on which all three streams are."""

    def __init__(self, *arguments: str, cwd: Path, ignored: signal.Signals | None = None) -> None:
        self.controller, terminal = pty.openpty()

        def lead() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignored is not None:  # as nohup does
                signal.signal(ignored, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=cwd,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            preexec_fn=lead,
            env={**os.environ, "SIMPLE_DQN_ROOT": str(cwd)},
        )
        os.close(terminal)

    def wait_for(self, text: str) -> None:
        seen = ""
        while text not in seen:
            assert select.select([self.controller], [], [], SECONDS)[0], seen
            seen += os.read(self.controller, 1 << 16).decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.controller, keys.encode())

    def go_away(self) -> int:
        """Close the terminal; return the status of the command."""
        os.close(self.controller)
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()


@pytest.fixture
def in_terminal(tmp_path: Path) -> Callable[..., InTerminal]:
    return lambda *arguments, **more: InTerminal(*arguments, cwd=tmp_path, **more)


def test_training_ends_with_its_terminal(
    in_terminal: Callable[..., InTerminal], tmp_path: Path
) -> None:
    """As with Ctrl-C: what was finished is there, and resuming goes on from it."""
    more = ["--epochs", "2", "--train_steps", "3000"]
    command = in_terminal(*TRAIN, *more)
    command.wait_for("_1.safetensors")  # 0 is written before any training
    assert command.go_away() == 130
    lines = (tmp_path / "results" / "pong.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines][:3] == ["phase", "random", "train"]
    last = "snapshots/pong_1.safetensors"
    assert call("", "resume", last, cwd=tmp_path).returncode == 0


def test_training_that_ignores_hangups_outlives_its_terminal(
    trained: Path, in_terminal: Callable[..., InTerminal], tmp_path: Path
) -> None:
    """`nohup`: the progress bar and the log have no place any more, and the run continues."""
    command = in_terminal(*TRAIN, ignored=signal.SIGHUP)
    command.wait_for("random")
    assert command.go_away() == 0
    name = "snapshots/pong_1.safetensors"
    assert weights(tmp_path / name) == weights(trained / name)


@pytest.mark.parametrize("ignored", [None, signal.SIGHUP])
def test_a_game_ends_with_its_terminal(
    in_terminal: Callable[..., InTerminal], tmp_path: Path, ignored: signal.Signals | None
) -> None:
    """What the person played is kept."""
    record = ["--record_experience", "mine.npz"]
    command = in_terminal("play", "pong", "--display", "terminal", *record, ignored=ignored)
    command.wait_for("You play   score 0")
    command.press("p")
    command.wait_for("paused")
    command.press("n-")  # one step
    command.wait_for("speed 0.5")
    assert command.go_away() == 0
    assert (tmp_path / "mine.npz").exists()


@pytest.mark.parametrize(("name", "told"), [(b"l\xc3\xa4ufe", "l\\xe4ufe"), (b"l\xff", "l\\udcff")])
def test_a_name_may_have_letters_that_standard_output_lacks(
    trained: Path, monkeypatch: pytest.MonkeyPatch, name: bytes, told: str
) -> None:
    """An umlaut where the output is ASCII; a byte that is no UTF-8."""
    file = os.fsdecode(name)
    (trained / f"{file}.csv").write_bytes((trained / "results" / "pong.csv").read_bytes())
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = call("", "plot", f"{file}.csv", cwd=trained)
    assert (result.returncode, result.stdout) == (0, f"{told}.png\n"), result.stderr
