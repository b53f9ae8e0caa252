"""Free memory under limits: those of a process, and those of control groups as Linux shows them."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from simple_dqn.memory.available import available_bytes

MB = 1 << 20


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    machine = psutil.virtual_memory().available
    assert available_bytes(tmp_path) == pytest.approx(machine, rel=0.1)


@pytest.mark.parametrize("group", ["/", "/a.slice/b.scope"])
def test_a_group_of_version_2(tmp_path: Path, group: str) -> None:
    """Cached files count as free; what is above the group limits it, too."""
    write(tmp_path / "proc/self", cgroup=f"0::{group}\n")
    own = tmp_path / f"sys/fs/cgroup{group}"
    stat = f"anon 1\ninactive_file {10 * MB}\n"
    write(own, memory__max=f"{100 * MB}\n", memory__current=f"{60 * MB}\n", memory__stat=stat)
    assert available_bytes(tmp_path) == 50 * MB
    write(own, memory__max="max\n")
    assert available_bytes(tmp_path) > 50 * MB
    if group != "/":
        write(own.parent, memory__max=f"{70 * MB}\n", memory__current=f"{60 * MB}\n")
        assert available_bytes(tmp_path) == 10 * MB
    write(own, memory__max=f"{50 * MB}\n")  # lowered below what is used
    assert available_bytes(tmp_path) == 0


@pytest.mark.parametrize("seen_from_inside", [True, False])
def test_a_group_of_version_1(tmp_path: Path, seen_from_inside: bool) -> None:
    """A container shows its own group as the root, but /proc names it as the host does."""
    lines = "9:name=systemd:/x\n4:cpu,memory:/docker/12ab\n0::/\n"
    write(tmp_path / "proc/self", cgroup=lines)
    root = tmp_path / "sys/fs/cgroup/memory"
    write(
        root if seen_from_inside else root / "docker/12ab",
        memory__limit_in_bytes=f"{100 * MB}\n",
        memory__usage_in_bytes=f"{30 * MB}\n",
        memory__stat=f"inactive_file 0\ntotal_inactive_file {MB}\n",
    )
    if not seen_from_inside:
        unlimited = str(2**63 - 4096)
        write(root, memory__limit_in_bytes=unlimited, memory__usage_in_bytes="1")
    assert available_bytes(tmp_path) == 71 * MB


OPTIONS = "--random_steps 20 --train_steps 20 --test_steps 0 --epochs 1 --log_level ERROR"


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--replay_size", "800000"], "--replay_size"),
        (
            ["--screen_width", "1024", "--screen_height", "1024", "--replay_size", "100"],
            "--screen_width",
        ),
    ],
)
def test_a_run_that_does_not_fit_is_told(
    tmp_path: Path, limit: int, options: list[str], named: str
) -> None:
    """`ulimit -v` and `ulimit -d`: before the first step, a line that names what to change."""
    result = subprocess.run(
        [sys.executable, "-m", "simple_dqn", "train", "pong", *OPTIONS.split(), *options],
        env={**os.environ, "SIMPLE_DQN_ROOT": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(limit, (2_500_000_000, 2_500_000_000)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert named in line
    assert not list(tmp_path.rglob("*.csv"))
