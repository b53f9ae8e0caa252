"""How much main memory a process can still get: of the machine, and of its container."""

import contextlib
from pathlib import Path

import psutil


def available_bytes(system: Path = Path("/")) -> int:
    """Return the bytes that this process can still allocate and fill.

    The control groups (version 2) of a container or a batch system may leave less than the machine
    has; proc/ and sys/ are under `system`. Cached files count as free.
    """
    free = [int(psutil.virtual_memory().available)]
    group = Path()  # a container sees its own group as the root
    with contextlib.suppress(OSError):
        lines = (system / "proc/self/cgroup").read_text().splitlines()
        group = Path(*(line.removeprefix("0::/") for line in lines if line.startswith("0::/")))
    for folder in (system / "sys/fs/cgroup" / name for name in (group, *group.parents)):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            cached = next(int(line[14:]) for line in lines if line.startswith("inactive_file "))
            free.append(max(0, limit - used + cached))
    return min(free)
