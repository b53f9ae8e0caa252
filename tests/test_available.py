"""Free memory under the limits of control groups, as Linux shows them."""

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
def test_a_group_of_processes(tmp_path: Path, group: str) -> None:
    """Cached files count as free; what is above the group limits it, too."""
    write(tmp_path / "proc/self", cgroup=f"0::{group}\n")
    own = tmp_path / f"sys/fs/cgroup{group}"
    stat = f"anon 1\ninactive_file {10 * MB}\n"
    write(own, memory__max=f"{100 * MB}\n", memory__current=f"{60 * MB}\n", memory__stat=stat)
    assert available_bytes(tmp_path) == 50 * MB
    write(own, memory__max="max\n")
    assert available_bytes(tmp_path) > 50 * MB
    if group != "/":
        above = {"memory__max": f"{60 * MB}\n", "memory__current": f"{60 * MB}\n"}
        write(own.parent, **above, memory__stat=stat)
        assert available_bytes(tmp_path) == 10 * MB
    write(own, memory__max=f"{50 * MB}\n")  # lowered below what is used
    assert available_bytes(tmp_path) == 0
