"""How many bytes a second the head of a suite takes: fake runs send epochs of real sizes.

    python archive_load.py FOLDER RUNS SENDERS

Each run sends one epoch of the network of the 2015 paper: its weights, what resuming needs, 100,000
steps of a replay memory, the CSV and the log. SENDERS processes side by side each send the epochs
of their share of the runs, one after another.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from simple_dqn.options.settings import Settings
from simple_dqn.suite.archive import Archive
from simple_dqn.suite.plan import PlannedRun
from simple_dqn.suite.worker import _Attempt

# Sizes of a run of Breakout: 1,700,000 steps, then an epoch of 100,000.
SIZES = {"_1.safetensors": 6_748_688, "_1.training.safetensors": 20_240_976, "_1.memory": 3_315_673}


def send(archive: Any, runs: list[PlannedRun], folder: Path) -> float:
    """Send an epoch of each run; the longest time that one took, in seconds."""

    def call(method: str, *arguments: object) -> Any:
        return ray.get(getattr(archive, method).remote(*arguments))

    longest, rng = 0.0, np.random.default_rng()
    for run in runs:
        place = folder / run.name
        attempt = _Attempt(run, call("begin", run, "here"), call, place)
        sizes = {run.prefix.with_name(run.name + end): size for end, size in SIZES.items()}
        for path, size in {**sizes, run.csv_file: 5_000, run.log_file: 20_000}.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(rng.bytes(size))
        start = time.perf_counter()
        attempt._send()
        longest = max(longest, time.perf_counter() - start)
    return longest


def main(folder: Path, number: int, senders: int) -> None:
    ray.init(num_cpus=senders, include_dashboard=False, object_store_memory=200 * 2**20)
    archive: Any = ray.remote(Archive).options(num_cpus=0).remote(folder / "head")
    runs = [
        PlannedRun("load", Settings(game="pong", label=f"s{seed}"), None) for seed in range(number)
    ]
    task = ray.remote(send)
    start = time.perf_counter()
    shares = [task.remote(archive, runs[i::senders], folder / "runs") for i in range(senders)]
    longest = max(ray.get(shares))
    seconds = time.perf_counter() - start
    megabytes = number * (sum(SIZES.values()) + 25_000) / 1e6
    print(  # noqa: T201
        f"{number} epochs of {megabytes / number:.1f} MB in {seconds:.0f} s: "
        f"{megabytes / seconds:.0f} MB/s; the longest took {longest:.1f} s"
    )
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
