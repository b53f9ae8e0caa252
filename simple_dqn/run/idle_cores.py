"""A thread of the kernels for each core that other programs leave idle, at any time of a run."""

import time

import psutil
from typing_extensions import override

from simple_dqn.agent import Callback
from simple_dqn.networks.device import cores_at_hand
from simple_dqn.networks.native import Kernels

_SECONDS = 0.5  # from one look at the cores to the next
_MUCH = 0.6  # emulation, by the time that learning takes
_MOST = 8  # more threads than a minibatch keeps busy


class IdleCores(Callback):
    """Lets the kernels compute on a thread for each core that other programs leave idle.

    Threads that share a core with another program wait for one another. The number of the kernels'
    threads changes speeds and nothing else, since threads share no sum.
    """

    def __init__(self) -> None:
        self._time = self._own = self._main = 0.0
        self._emulators = 0  # cores that are left to them
        self.threads()

    @override
    def on_phase_start(self, phase: str, *_: object) -> None:
        self._emulators = len(cores_at_hand()) // 2 if phase == "train" else 0

    @override
    def on_step(self, *_: object) -> None:
        if time.perf_counter() - self._time > _SECONDS:
            Kernels.num_threads = self.threads()

    def threads(self) -> int:
        """Return a thread for each core that was idle since the last call, or busy with ours.

        In training half of the cores are left to the emulators, if they need them about as long as
        the network does; otherwise they share its cores.
        """
        cores = cores_at_hand()
        busy: list[float] = psutil.cpu_percent(percpu=True)  # since the last call
        now, own, main = time.perf_counter(), time.process_time(), time.thread_time()
        busy += [0.0] * max(cores)  # a container may show fewer cores than it names
        others = sum(busy[core] for core in cores) / 100 - (own - self._own) / (now - self._time)
        learning = main - self._main  # and as long in each of the network's other threads
        emulation = own - self._own - Kernels.num_threads * learning
        if emulation < _MUCH * self._emulators * learning:
            self._emulators = 0
        self._time, self._own, self._main = now, own, main
        return min(max(1, len(cores) - self._emulators - round(others)), _MOST)
