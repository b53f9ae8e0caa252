"""How much main memory a process can still get: of the machine, its container and its limits."""

from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows has no such limits
    HAS_LIMITS = False
else:
    HAS_LIMITS = True

# Where control groups are mounted, by the name of their controller in /proc/self/cgroup; a group's
# limit, what it uses, and how its memory.stat names cached files, which give way to arrays.
_GROUPS = (
    ("", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "memory",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def available_bytes(system: Path = Path("/")) -> int:
    """Return the bytes that this process can still allocate and fill.

    Args:
        system: root of the file system with proc/ and sys/.
    """
    return min(int(psutil.virtual_memory().available), _by_limits(), *_by_groups(system))


def _by_limits() -> int:
    """What `ulimit -v` and `ulimit -d` leave."""
    free = int(psutil.virtual_memory().total)
    if HAS_LIMITS:
        used = psutil.Process().memory_info()
        for limit, bytes_used in (
            (resource.RLIMIT_AS, used.vms),
            (resource.RLIMIT_DATA, getattr(used, "data", 0)),
        ):
            most, _ = resource.getrlimit(limit)
            if most != resource.RLIM_INFINITY:
                free = min(free, max(most - bytes_used, 0))
    return free


def _by_groups(system: Path) -> list[int]:
    """What the control groups of this process leave (versions 1 and 2; Linux only).

    A container may show its own group as the root, though /proc tells its name outside.
    """
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    free = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        for controller, mounted, most, used, cached in _GROUPS:
            if controller in controllers.split(","):
                group = Path(name.lstrip("/"))
                for each in (group, *group.parents):
                    folder = system / mounted / each
                    limit, current = _number(folder / most), _number(folder / used)
                    if limit is not None and current is not None:
                        free.append(max(limit - current + _statistic(folder, cached), 0))
    return free


def _number(file: Path) -> int | None:
    """A file's number; None without such a file, or if it says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _statistic(group: Path, name: str) -> int:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
