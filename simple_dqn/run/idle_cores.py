"""A thread of the kernels for each core that other programs leave idle, at any time of a run."""

import time

import psutil
from typing_extensions import override

from simple_dqn.agent import Callback
from simple_dqn.networks.device import cores_at_hand
from simple_dqn.networks.native import Kernels

_SECONDS = 0.5  # from one look at the cores to the next
_MOST = 8  # more threads than a minibatch keeps busy


class IdleCores(Callback):
    """Lets the kernels compute on a thread for each core that other programs leave idle.

    Threads that share a core with another program wait for one another. The number of the kernels'
    threads changes speeds and nothing else, since threads share no sum.
    """

    def __init__(self, emulators: int = 0) -> None:
        """Leave so many cores to the emulators in training."""
        self._time = self._own = 0.0
        self._emulators, self._left = emulators, emulators
        self.threads()

    @override
    def on_phase_start(self, phase: str, *_: object) -> None:
        self._left = self._emulators if phase == "train" else 0

    @override
    def on_step(self, *_: object) -> None:
        if time.perf_counter() - self._time > _SECONDS:
            Kernels.num_threads = self.threads()

    def threads(self) -> int:
        """Return a thread for each core that was idle since the last call, or busy with ours."""
        cores = cores_at_hand()
        busy: list[float] = psutil.cpu_percent(percpu=True)  # since the last call
        now, own = time.perf_counter(), time.process_time()
        busy += [0.0] * max(cores)  # a container may show fewer cores than it names
        others = sum(busy[core] for core in cores) / 100 - (own - self._own) / (now - self._time)
        self._time, self._own = now, own
        return min(max(1, len(cores) - self._left - round(others)), _MOST)
