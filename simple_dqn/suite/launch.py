"""Ray carries out the runs of a suite: on this machine, or on all machines of a cluster."""

import contextlib
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray.exceptions import NodeDiedError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from simple_dqn.errors import UserError
from simple_dqn.suite.archive import Archive
from simple_dqn.suite.plan import PlannedRun
from simple_dqn.suite.worker import carry_out

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 200 * 2**20
_SECONDS = 1.0  # from one look at the runs to the next
_LONGEST_END = 90.0  # seconds that runs have to stop in
_AGAIN = "give the same command again to continue the runs"


class Resources(NamedTuple):
    """What runs get."""

    address: str | None  # HOST:PORT of a cluster, or None for this machine
    cpus_per_run: float
    gpus_per_run: float
    max_runs: int | None  # at a time; None: as many as fit


# A run that was given up, and why: the last line of its log, or what happened to its machine.
Failure = tuple[PlannedRun, str]


class Status(NamedTuple):
    """The state of a suite's runs; those that are not named here are done."""

    waiting: Sequence[str]  # names of runs
    places: dict[str, str]  # where runs are carried out, by name
    failures: Sequence[Failure]


@contextlib.contextmanager
def cluster(resources: Resources) -> Iterator[None]:
    """Use the cluster at an address, or make one of this machine alone and end it."""
    # Not tempfile's own folder: the path of a socket may have some 100 letters.
    room = None if os.name == "nt" else "/tmp"
    stop = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(dir=room, ignore_cleanup_errors=True) as private:
        with contextlib.chdir(os.sep):  # Ray's workers import modules of the current folder
            _start(resources, private)
        try:
            signal.signal(signal.SIGTERM, stop)  # Ray has set its own
            _check(resources)
            yield
        except RayError as error:
            raise UserError(f"Ray has died ({type(error).__name__}); {_AGAIN}") from error
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(_AGAIN) from interrupt
        finally:
            ray.shutdown()


def _start(resources: Resources, private: str) -> None:
    """Start Ray, or connect to it; the files of a new cluster are in the folder `private`."""
    # Ray's own memory monitor ends processes; runs look after their memory themselves.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # It writes 40 lines to standard output for each machine that it loses.
    ray_worker.listen_error_messages = lambda *_: None
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if resources.address is not None:
            host, _, port = resources.address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10):
                pass  # something answers; Ray itself would wait for a long time
            ray.init(address=resources.address, **quiet)
        else:
            # Nobody else may use a cluster of this machine alone. It listens at 127.0.0.1, which
            # Ray would replace by a public address, and needs a token, which is in no file.
            ray_constants.ENABLE_RAY_CLUSTER = False
            os.environ.pop("RAY_AUTH_MODE", None)
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init(
                address="local",  # not a cluster that others have on this machine
                num_cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else None,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=f"{private}/ray",  # which Ray opens to everybody
                **quiet,
            )
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        if resources.address is None:
            raise UserError(f"Ray cannot start: {reason}") from error
        raise UserError(
            f"no Ray cluster answers at {resources.address}: {reason}; give the HOST:PORT that "
            "`ray start --head` prints"
        ) from error


def _check(resources: Resources) -> None:
    """Refuse runs that fit on no machine."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cpus, gpus = resources.cpus_per_run, resources.gpus_per_run
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in machines):
        most = max((node.get("CPU", 0), node.get("GPU", 0)) for node in machines)
        raise UserError(
            f"a run with {cpus:g} cores and {gpus:g} GPUs fits on no machine; the largest has "
            f"{most[0]:g} and {most[1]:g}: give fewer --cpus_per_run or --gpus_per_run"
        )


def launch(
    runs: Sequence[PlannedRun],
    folder: Path,
    resources: Resources,
    retries: int,
    watch: Callable[[Status], None],
) -> list[Failure]:
    """Carry out runs, each on any machine; within `cluster`; return those that were given up.

    A run that fails is tried again from its last epoch, so many times. An attempt that finished a
    phase more is not counted. The runs' files come into the root folder `folder`. `watch` is called
    about once a second.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    archive: Any = (
        ray.remote(Archive).options(num_cpus=0, scheduling_strategy=here).remote(folder.absolute())
    )
    task = ray.remote(_on_a_machine).options(
        num_cpus=resources.cpus_per_run, num_gpus=resources.gpus_per_run, max_retries=0
    )
    threads = max(1, int(resources.cpus_per_run))
    whose = f"{socket.gethostname()} {folder.absolute() / runs[0].csv_file.parent}"
    whose = hashlib.sha256(whose.encode()).hexdigest()[:16]
    waiting, going, failures = list(runs), dict[Any, PlannedRun](), list[Failure]()
    left = {run.name: retries for run in runs}
    done_before: dict[str, int] = {}
    try:
        while waiting or going:
            while waiting and len(going) < (resources.max_runs or len(runs)):
                run = waiting.pop(0)
                done_before[run.name] = len(run.rows(folder))
                going[task.remote(archive, run, threads, whose)] = run
            ended, _ = ray.wait(list(going), num_returns=len(going), timeout=_SECONDS)
            places = ray.get(archive.places.remote())
            for reference in ended:
                run = going.pop(reference)
                ray.get(archive.end.remote(run))
                if len(run.rows(folder)) > done_before[run.name]:
                    left[run.name] = retries
                reason = _failure(reference, resources)
                if reason is not None and left[run.name] > 0:
                    left[run.name] -= 1
                    logger.warning("%s is tried again: %s", run.name, reason)
                    waiting.append(run)
                elif reason is not None:
                    failures.append((run, reason))
            begun = [run for run in going.values() if run.name in places]
            watch(
                Status(
                    [run.name for run in [*waiting, *going.values()] if run not in begun],
                    {run.name: places[run.name] for run in begun},
                    failures,
                )
            )
    finally:
        for reference in going:
            ray.cancel(reference, force=False)
        if going:
            ray.wait(list(going), num_returns=len(going), timeout=_LONGEST_END)
    return failures


def _failure(reference: Any, resources: Resources) -> str | None:
    """What went wrong in a run that has ended, or None; raise where the only machine is gone."""
    try:
        reason: str | None = ray.get(reference)
    except RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except RayError as error:
        if isinstance(error, NodeDiedError) and resources.address is None:
            raise
        return f"its machine or its process is gone ({type(error).__name__})"
    return reason


def _on_a_machine(archive: Any, run: PlannedRun, threads: int, whose: str) -> str | None:
    """Carry out a run where Ray has put it; `whose` names the suite's folder."""

    def call(method: str, *arguments: object) -> Any:
        return ray.get(getattr(archive, method).remote(*arguments))

    # A suite in the background of a shell ignores SIGINT, by which Ray cancels a task.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mine = Path(tempfile.gettempdir()) / f"simple_dqn_{whose}_{run.name}"
    return carry_out(run, call, socket.gethostname(), threads, mine)
