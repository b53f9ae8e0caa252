"""What several test files need: parts with small settings, and slow twins in NumPy."""

import contextlib
import fcntl
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import Environment, Observations, TimeStep
from simple_dqn.environments.roms import find_game
from simple_dqn.memory.experience import Experience, experience_settings, write_experience
from simple_dqn.memory.observations import ObservationsInMemory
from simple_dqn.memory.prioritized import PrioritizedReplayMemory
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ObservationStore, ReplayMemory
from simple_dqn.returns import NStepReturn
from simple_dqn.run import parts
from simple_dqn.run.environments import make_environment

Array = npt.NDArray[np.float64]

HEADER: dict[str, Any] = {  # of a snapshot
    "game": "pong",
    "rom_md5": "60e0ea3cbe0913d39803477945e9e5ec",
    "label": None,
    "action_meanings": ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"],
    "network": "nature",
    "epoch": 3,
    "total_train_steps": 120,
    "weight_updates": 30,
    "replay_memory_count": 120,
    "total_time": 1.5,
    "options": {"batch_size": 32},
    "versions": {"simple_dqn": "0.1.0", "torch": "2.13.0+cpu"},
}


def make_settings(**changes: Any) -> Settings:
    """The options' defaults, but for those named."""
    return Settings(game="pong", **changes)


def make_memory(
    *,
    lane_size: int,
    num_games: int = 1,
    observation_shape: tuple[int, ...] = (1, 3),
    observation_dtype: npt.DTypeLike = np.uint8,
    store: ObservationStore | None = None,
    prioritized: bool = False,
    n_step: int = 1,
    min_reward: float = -math.inf,
    max_reward: float = math.inf,
    **changes: Any,
) -> ReplayMemory:
    """A memory whose minibatch is as large as itself; rewards are not clipped."""
    if store is None:
        dtype = np.dtype(observation_dtype)
        store = ObservationsInMemory(num_games, lane_size, observation_shape, dtype)
    settings: dict[str, Any] = {
        "observations": store,
        "history_length": 4,
        "batch_size": lane_size * num_games,
        "n_step_return": NStepReturn(n_step, 0.5, min_reward, max_reward),
    }
    if prioritized:
        settings |= {"priority_exponent": 0.6, "importance_exponent": lambda _: 0.4}
        return PrioritizedReplayMemory(**settings | changes)
    return ReplayMemory(**settings | changes)


def make_network(
    *,
    num_actions: int = 3,
    observation_shape: tuple[int, ...] = (36, 40),
    num_threads: int = 1,
    device: str = "cpu",
    random_seed: int = 5,
    **changes: Any,
) -> DeepQNetwork:
    """A network with the options' defaults, torch's own convolutions and minibatches of 8."""
    settings = make_settings(**{"batch_size": 8, "native_kernels": False} | changes)
    threads = parts.Threads(device, num_threads, 1)
    return parts.make_network(settings, num_actions, observation_shape, threads, random_seed)


class Recording(NamedTuple):
    """Games as played; the time is the leading axis."""

    observations: npt.NDArray[Any]  # (steps + 1, num_games, *observation_shape)
    rewards: npt.NDArray[np.float32]  # (steps, num_games)
    terminals: npt.NDArray[np.bool_]  # (steps, num_games)
    game_overs: npt.NDArray[np.bool_]  # (steps, num_games)


def record(first: Observations, steps: Sequence[TimeStep]) -> Recording:
    """Put first observations and what followed together."""
    observations, *others = (np.stack(part) for part in zip(*steps, strict=True))
    return Recording(np.concatenate([first[None], observations]), *others)


def play(environment: Environment, actions: npt.NDArray[np.int64], seed: int = 0) -> Recording:
    """Play new games with actions (steps, num_games)."""
    first = environment.restart(seed).copy()
    steps = []
    for step in actions:
        environment.act(step)
        steps.append(TimeStep(*(array.copy() for array in environment.observe())))
    return record(first, steps)


def convolve(inputs: Array, weight: Array, bias: Array, stride: int) -> Array:
    """Valid cross-correlation of (channels, h, w) with (filters, channels, size, size)."""
    size = weight.shape[-1]
    height, width = ((side - size) // stride + 1 for side in inputs.shape[1:])
    outputs = np.empty((len(weight), height, width))
    for y in range(height):
        for x in range(width):
            patch = inputs[:, y * stride : y * stride + size, x * stride : x * stride + size]
            outputs[:, y, x] = np.tensordot(weight, patch, 3) + bias
    return outputs


def write_play(path: Path, game: str = "breakout", **changes: object) -> Path:
    """Write a person's play of screens of 36x36: a hundred steps in which nothing is done."""
    found = find_game(game, Path("roms"))
    settings = make_settings(screen_width=36, screen_height=36)
    environment = make_environment(settings, found, 1, training=True)
    with contextlib.closing(environment):
        meanings = environment.action_meanings
    screens, actions = np.zeros((100, 36, 36), np.uint8), np.zeros(100, np.uint8)
    rewards, nothing = np.zeros(100, np.float32), np.zeros(100, np.bool_)
    experience = Experience(screens, actions, rewards, nothing, nothing)
    kept = experience_settings(settings.kept(), found, meanings)
    write_experience(path, experience, kept | changes)
    return path


class InTerminal:
    """A command in a terminal of its own, of 24 lines, on which all three streams are."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        ignored: signal.Signals | None = None,
        **environment: str,
    ) -> None:
        """Start the command with variables beside the test's own; `nohup` ignores a signal."""
        self.controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.output, self._seen = "", 0  # letters up to the end of what was waited for

        def lead() -> None:  # so that Ctrl-C in the terminal is a signal
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignored is not None:
                signal.signal(ignored, signal.SIG_IGN)

        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "TERM": "xterm"} | environment,
            preexec_fn=lead,
            **dict.fromkeys(("stdin", "stdout", "stderr"), terminal),
        )
        os.close(terminal)

    def wait_for(self, pattern: str, keys: str = "") -> None:
        """Wait until a pattern is written after what was waited for before; then press keys."""
        while not (match := re.compile(pattern).search(self.output, self._seen)):
            assert select.select([self.controller], [], [], 60.0)[0], self.output
            self.output += os.read(self.controller, 1 << 16).decode(errors="replace")
        self._seen = match.end()
        os.write(self.controller, keys.encode())

    def end(self) -> int:
        """Read on until the command ends; return its status."""
        with contextlib.suppress(OSError):  # on Linux, the end is an error
            while piece := os.read(self.controller, 1 << 16):
                self.output += piece.decode(errors="replace")
        return self.go_away()

    def go_away(self) -> int:
        """Close the terminal; return the status of the command."""
        os.close(self.controller)
        try:
            return self.process.wait(60.0)
        finally:
            self.process.kill()


def run_in_terminal(
    command: Sequence[str],
    folder: Path,
    *,
    keys: Sequence[tuple[str, str]] = (),
    columns: int = 80,
    **environment: str,
) -> tuple[int, str]:
    """Run a command in a terminal; its status, and what it wrote.

    Keys are pressed once their pattern is on the screen, in turn.
    """
    started = InTerminal(command, folder, columns=columns, **environment)
    for pattern, pressed in keys:
        started.wait_for(pattern, pressed)
    return started.end(), started.output


def write_run(path: Path, tests: list[float], *, epoch_steps: int = 50) -> Path:
    """Write a run whose tests have these scores."""
    lines = ["epoch,phase,average_reward,total_train_steps", "0,random,-20,0"]
    for epoch, score in enumerate(tests, start=1):
        steps = epoch * epoch_steps
        lines += [f"{epoch},train,99,{steps}", f"{epoch},test,{score},{steps}"]
    path.write_text("\n".join(lines) + "\n")
    return path
