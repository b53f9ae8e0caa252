"""Suites of real runs on real Ray, on one machine and on two nodes, killed and repeated."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from kill_driver import rows as read_rows
from ray.cluster_utils import Cluster
from safetensors.numpy import load_file
from test_main import refused

from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.environments.roms import find_game
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.options.settings import Settings
from simple_dqn.suite.archive import Archive
from simple_dqn.suite.plan import ORIGINAL, PlannedRun, games_of, plan_runs
from simple_dqn.suite.table import state_of
from simple_dqn.suite.worker import carry_out

TINY = [
    *("--screen_width", "36", "--screen_height", "36", "--replay_size", "250"),
    *("--random_steps", "60", "--train_steps", "80", "--test_steps", "40", "--epochs", "3"),
    *("--batch_size", "8", "--target_steps", "50", "--network", "nips", "--optimizer", "adam"),
]
GAMES = ["pong,breakout", "mine", "--seeds", "2", "--tensorboard", "true", *TINY]
NAMES = ["pong_s1", "breakout_s1", "pong_s2", "breakout_s2"]
SECONDS = 300.0  # after which a test gives up
TESTS = Path(__file__).parent


class Suite:
    """The command in a process of its own."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "simple_dqn", "suite", *arguments],
            env={**os.environ, "SIMPLE_DQN_ROOT": str(root), "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self, status: int = 0) -> str:
        output, _ = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == status, output
        return output

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Press Ctrl-C while a run is carried out."""
        wait_for(lambda: processes_of(self.root), self)
        self.process.send_signal(number)
        assert "interrupted; give the same command again" in self.end(130)
        assert not processes_of(self.root)

    def terminate(self) -> None:
        self.interrupt(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a crash does, and wait until Ray's workers and the runs have stopped.

        Two of Ray's agents, which do nothing more, go a minute later.
        """
        children = psutil.Process(self.process.pid).children(recursive=True)
        begun = [child for child in children if "Agent" not in " ".join(child.cmdline())]
        self.process.kill()
        self.process.communicate()
        _, alive = psutil.wait_procs(begun, timeout=SECONDS)
        assert not alive
        until = time.monotonic() + SECONDS
        while processes_of(self.root):
            assert time.monotonic() < until
            time.sleep(0.05)


def wait_for(condition: Callable[[], Any], suite: Suite) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        assert suite.process.poll() is None, suite.process.communicate()
        time.sleep(0.05)


def processes_of(root: Path) -> list[psutil.Process]:
    """Processes whose files are in a suite's root folder, or that carry out its runs."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if str(root) in words or ("simple_dqn" in words and "snapshots/mine/" in words):
                found.append(process)
        except psutil.Error:
            continue
    return found


def result(root: Path, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Rows without times, and all arrays of the last epoch's files."""
    rows = read_rows(root / "results" / "mine" / f"{name}.csv")
    prefix = str(root / "snapshots" / "mine" / name)
    arrays = load_file(f"{prefix}_3.safetensors")
    return rows, arrays | {
        f"training {key}": array
        for key, array in load_file(f"{prefix}_3.training.safetensors").items()
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of a dry run give, one after another."""
    root = tmp_path_factory.mktemp("expected")
    lines = Suite(root, *GAMES, "--dry_run").end().splitlines()
    assert len(lines) == 4
    assert not list(root.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SIMPLE_DQN_ROOT", str(root))
        for line in lines:
            script, *words = shlex.split(line)
            assert script == "scripts/train.sh"
            assert main(["train", *words]) == 0
    return root


def assert_same(root: Path, expected: Path) -> None:
    for name in NAMES:
        rows, arrays = result(root, name)
        expected_rows, expected_arrays = result(expected, name)
        assert rows == expected_rows
        assert arrays.keys() == expected_arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, expected_arrays[key], key)
        assert list((root / "results" / "mine" / "tensorboard" / name).glob("events.*"))
    assert not processes_of(root)


@pytest.mark.suite
def test_a_suite_that_is_killed_and_interrupted_ends_as_if_it_never_was(
    tmp_path: Path, expected: Path
) -> None:
    """Killed, interrupted, terminated; no process is ever left."""
    root = tmp_path / "my dqn"
    root.mkdir()
    for snapshot, stop in [
        ("pong_s1_1", Suite.kill),
        ("breakout_s1_2", Suite.interrupt),
        ("pong_s2_2", Suite.terminate),
    ]:
        suite = Suite(root, *GAMES)
        wait_for((root / "snapshots" / "mine" / f"{snapshot}.safetensors").exists, suite)
        stop(suite)
    assert "of 4 runs are left to do" in Suite(root, *GAMES).end()
    assert_same(root, expected)
    assert "0 of 4 runs are left" in Suite(root, *GAMES).end()
    output = Suite(root, *GAMES, "--learning_rate", "0.1").end(1)
    assert "was made with --learning_rate 0.00025" in output
    assert output.count("\n") == 1


@pytest.mark.suite
def test_nobody_else_reaches_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No port, no token, no file of the current folder; no second command for a run. Ray dies."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("simple_dqn", "numpy"):
        Path(f"{name}.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    suite = Suite(tmp_path, *GAMES, "--epochs", "50")
    wait_for((tmp_path / "snapshots" / "mine" / "pong_s1_0.safetensors").exists, suite)
    children = psutil.Process(suite.process.pid).children(recursive=True)
    sockets = [each for child in children for each in child.net_connections()]
    ports = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    assert {port.removeprefix("::ffff:") for port in ports} == {"127.0.0.1"}
    assert not Path(".ray").exists()
    assert not Path("imported").exists()
    csv_file, prefix = Path("results/mine/pong_s1.csv"), Path("snapshots/mine/pong_s1")
    with pytest.raises(UserError, match="is being written"), RunFiles(csv_file, prefix).held():
        pass
    next(child for child in children if child.name() == "raylet").kill()
    output = suite.end(1)
    assert "Ray has died" in output.splitlines()[-1]
    assert "is tried again" not in output


@pytest.fixture
def two_nodes() -> Iterator[tuple[Cluster, Any]]:
    """A head with one core and a node with one core, on this machine."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster, cluster.add_node(num_cpus=1)
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.suite
def test_a_run_goes_on_where_another_node_lives(
    tmp_path: Path, expected: Path, two_nodes: tuple[Cluster, Any]
) -> None:
    cluster, node = two_nodes
    suite = Suite(tmp_path, *GAMES, "--address", cluster.address)
    wait_for((tmp_path / "snapshots" / "mine" / "breakout_s1_1.safetensors").exists, suite)
    cluster.remove_node(node, allow_graceful=False)
    output = suite.end()
    assert "is tried again: its machine or its process is gone" in output
    assert_same(tmp_path, expected)


@pytest.mark.suite
def test_a_run_that_always_fails_is_named_at_the_end(tmp_path: Path) -> None:
    arguments = [
        *("suite_games:Breaks-v0,CartPole-v1", "mine", "--environment", "gym", "--seeds", "1"),
        *("--retries", "1", "--network", "8", "--replay_size", "200", "--random_steps", "50"),
        *("--train_steps", "50", "--test_games", "1", "--epochs", "1", "--max_runs", "1"),
    ]
    output = Suite(tmp_path, *arguments).end(1)
    assert output.count("suite_games_Breaks-v0_s1 is tried again") == 1
    log = tmp_path / "results" / "mine" / "suite_games_Breaks-v0_s1.log"
    assert "suite_games_Breaks-v0_s1 failed: simple_dqn: suite_games:Breaks-v0 failed in" in output
    assert str(log) in output
    assert "1 of 2 runs failed" in output
    assert log.read_text().count("off the board") == 2
    assert (tmp_path / "snapshots" / "mine" / "CartPole-v1_s1_1.safetensors").exists()
    assert "| CartPole-v1_s1 | 1 | 50 |" in output
    report = tmp_path / "results" / "mine" / "report.md"
    assert "| CartPole-v1_s1 | 1 | 50 |" in report.read_text()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["pong,nosuchgame"], "unknown game 'nosuchgame'"),
        (["pong,pong"], "pong_s1 is in this suite twice"),
        (["pong,ALE/Pong-v5"], "pong_s1 is in this suite twice"),
        (["pong", "--seeds", "4,4"], "pong_s4 is in this suite twice"),
        (["pong", ".."], ".. cannot be a folder"),
        (["missing.txt"], "cannot read missing.txt: No such file"),
        ([","], "names no game"),
        pytest.param(
            ["pong", "--cpus_per_run", "1000"], "fits on no machine", marks=pytest.mark.suite
        ),
        (["pong", "--address", "localhost:1"], "no Ray cluster answers at localhost:1"),
    ],
)
def test_a_suite_that_cannot_begin(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert part in refused(capsys, 1, "suite", *arguments)
    assert not list(root.glob("**/*.csv"))


def test_games(tmp_path: Path) -> None:
    path = tmp_path / "games.txt"
    path.write_text("# mine\npong\n\n breakout \n")
    assert games_of(str(path), "ale") == ["pong", "breakout"]
    assert games_of("original", "ale") == list(ORIGINAL)
    assert len(games_of("atari57", "ale")) == 57
    assert games_of("atari57", "gym") == ["atari57"]


def test_only_the_latest_attempt_writes_and_only_its_own_files(tmp_path: Path) -> None:
    run: PlannedRun = plan_runs(Settings(game="pong", label="mine"), (1,))[0]
    archive = Archive(tmp_path)
    first, second = (archive.begin(run, place)[0] for place in ("here", "there"))
    path = str(run.csv_file)
    archive.write(run, second, path, 0, b"half", False)
    assert not (tmp_path / path).exists()
    archive.write(run, first, path, 0, b"old", True)
    assert not (tmp_path / path).exists()
    archive.write(run, second, path, 4, b" done", True)
    assert (tmp_path / path).read_bytes() == b"half done"
    for other in ("results/mine/pong_s2.csv", "../x.csv", "snapshots/mine/../pong_s1_1.memory"):
        archive.write(run, second, other, 0, b"x", True)
    archive.keep(run, second, [])
    assert {path.suffix for path in tmp_path.glob("**/*") if path.is_file()} == {".lock"}


def carried_out(root: Path, work: Path, **options: Any) -> PlannedRun:
    """A tiny run as a worker carries it out, without Ray between it and the archive."""
    tiny = {"screen_width": 36, "screen_height": 36, "replay_size": 250, "random_steps": 60}
    tiny |= {"train_steps": 80, "test_steps": 40, "epochs": 1, "batch_size": 8}
    tiny |= {"game": "pong", "network": "nips", "pixel_mean": "auto", **options}
    (run,) = plan_runs(Settings(label="mine", **tiny), (1,))
    run.check(root)  # also where the number that was measured differs from `auto`
    archive = Archive(root.absolute())

    def call(method: str, *arguments: Any) -> Any:
        return getattr(archive, method)(*arguments)

    assert carry_out(run, call, "here", 1, work) is None
    assert run.is_finished(root)
    assert not work.exists()
    return run


_OF_A_MODULE = {"game": "gymnasium.envs:CartPole-v1", "environment": "gym", "network": "8"}


@pytest.mark.parametrize(("tested", "options"), [(True, {}), (False, {}), (False, _OF_A_MODULE)])
def test_an_attempt_after_one_that_died_at_the_very_end(
    root: Path, tmp_path: Path, tested: bool, options: dict[str, Any]
) -> None:
    """All was sent already, or all but the row of the last test."""
    run = carried_out(root, tmp_path / "work", **options)
    csv_file = root / run.csv_file
    (snapshot,) = root.glob(f"{run.prefix}_1.safetensors")
    rows, weights = csv_file.read_text().splitlines(), snapshot.read_bytes()
    if not tested:
        csv_file.write_text("\n".join(rows[:-1]) + "\n")
    carried_out(root, tmp_path / "work", **options)
    assert len(csv_file.read_text().splitlines()) == len(rows)
    assert snapshot.read_bytes() == weights


def test_the_table_shows_how_far_an_epoch_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simple_dqn.reports.progress._SECONDS_BETWEEN_LINES", 0.0)
    (run,) = plan_runs(Settings(game="pong", label="mine", epochs=3), (1,))
    csv_file = root / run.csv_file
    assert main(["train", "pong", *TINY, "--csv_file", str(csv_file)]) == 0
    log, _, _ = capsys.readouterr().err.partition(" train 3/3: 41 of 80 steps")
    (root / run.log_file).write_text(log)
    rows = csv_file.read_text().splitlines(keepends=True)
    csv_file.write_text("".join(rows[:-2]))  # without epoch 3
    state = state_of(run, root)
    assert (state.epoch, state.now) == (2, "train 50%")
    assert f", {state.time_left} left, {state.steps_per_second} steps/s" in log.splitlines()[-2]


def test_a_run_gets_the_roms_of_the_users_own_and_leaves_them_alone(
    root: Path, tmp_path: Path
) -> None:
    own = root / "roms" / "pong.bin"
    own.parent.mkdir()
    shutil.copy(find_game("pong", tmp_path).rom_path, own)
    before = own.read_bytes()
    assert carried_out(root, tmp_path / "work").rom == Path("roms/pong.bin")
    assert own.read_bytes() == before


def test_a_resumed_run_imports_the_module_that_the_suite_names() -> None:
    settings = Settings(game="suite_games:Breaks-v0", environment="gym", label="mine")
    (run,) = plan_runs(settings, (1,))
    assert "--allow_import true --csv_file" in " ".join(run.command(Path("x_1.safetensors")))
    assert "--allow_import" not in run.command()


def test_growing_files_of_other_runs_stay(tmp_path: Path) -> None:
    """Those of `pong_s10` where `pong_s1` begins; runs of a suite write side by side."""
    first, tenth = plan_runs(Settings(game="pong", label="mine"), (1, 10))
    archive = Archive(tmp_path)
    for folder in first.folders[:2]:
        (tmp_path / folder).mkdir(parents=True)
    growing = []
    for run in (first, tenth):
        growing.append(tmp_path / run.prefix.with_name(f".{run.name}_3.memory.7.tmp"))
        growing.append(tmp_path / run.csv_file.with_name(f".{run.name}.csv.7.tmp"))
    files = RunFiles(tmp_path / first.csv_file, tmp_path / first.prefix)
    for begin in (lambda: archive.begin(first, "here"), lambda: files.remove_after(-1)):
        for path in growing:
            path.touch()
        begin()
        assert [path.exists() for path in growing] == [False, False, True, True]
