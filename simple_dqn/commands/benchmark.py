"""`benchmark [GAME]`: what each part of training costs on this machine, and what bounds training.

Speeds change from minute to minute on most machines, so the parts are measured in turns, and the
median of each one's turns counts: the ratios in a table hold even where its speeds do not.
"""

import dataclasses
import itertools
import logging
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ale_py
import gymnasium
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from typing_extensions import override

from simple_dqn import streams
from simple_dqn.agent import Callback, Network
from simple_dqn.checkpoints.places import game_of
from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.networks.bfloat16 import in_bfloat16
from simple_dqn.networks.device import cores_at_hand
from simple_dqn.networks.native import Kernels
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import Minibatch
from simple_dqn.run import parts
from simple_dqn.run.environments import make_environment

logger = logging.getLogger(__name__)

TURNS = 5
EXPLORATION_RATE = 0.1  # Nature's from a million steps on, so for nearly all of a run
FILL_STEPS = 2_000  # of random play before training
SMALL_MEMORY = 10_000  # steps
PEER = "stable-baselines3"


class Work(NamedTuple):
    """Something to measure."""

    run: Callable[[int], float]  # does the work n times and returns the seconds
    units: int = 1  # that one time counts as


class Stopwatch(Callback):
    """Times the second half of a phase; if `busy`, beside programs that keep all cores busy."""

    busy = False

    def __init__(self, network: Network) -> None:
        self._network = network

    @override
    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        self._left = total / 2
        self._threads = Kernels.num_threads
        loop = [
            sys.executable,
            "-c",
            "from os import getppid as us\nwho = us()\nwhile us() == who: 0",
        ]
        self._loops = [subprocess.Popen(loop) for _ in cores_at_hand() if self.busy]

    @override
    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        self._left -= steps
        if self._left <= 0:
            self.start, self._left = time.perf_counter(), math.inf

    @override
    def on_phase_end(self) -> None:
        self._network.mean_cost()  # waits for a GPU
        self.seconds = time.perf_counter() - self.start
        for process in self._loops:
            process.kill()
            process.wait()
        Kernels.num_threads = self._threads  # which busy loops may have made less


def benchmark(settings: Settings, seconds: float, *, peers: bool) -> None:
    """Measure each row for so many seconds and write a table to standard output."""
    game = game_of(settings)
    settings = dataclasses.replace(
        settings,
        random_seed=settings.random_seed or 0,
        replay_size=min(settings.replay_size, SMALL_MEMORY),
        exploration_rate_start=EXPLORATION_RATE,
        exploration_rate_end=EXPLORATION_RATE,
        pixel_mean=0.4 if settings.pixel_mean == "auto" else settings.pixel_mean,  # same cost
    )
    threads = parts.choose_threads(settings)
    peer = {PEER: _peer_training(settings, game, threads)} if peers else {}
    environment = make_environment(settings, game, threads.environment, training=True)
    works = _our_works(settings, environment, threads) | peer
    logger.info("measuring, about %.0f seconds", len(works) * seconds)
    flops = count_flops(settings, environment.num_actions, environment.observation_shape)
    streams.write(
        f"{_machine(threads)}\n{game.name}: {settings.num_games} game(s) on {threads.environment} "
        f"thread(s), network on {threads.device} with {threads.network} thread(s)\n\n"
        + lay_out(settings, measure(works, seconds), flops)
    )


def measure(works: Mapping[str, Work], seconds: float) -> dict[str, float]:
    """Return the units per second of each work: the median of its turns, which rotate."""
    numbers = {}
    for name, (run, _) in works.items():
        number = 1
        while (elapsed := run(number)) < seconds / TURNS / 2:
            number = max(2 * number, int(number * seconds / TURNS / elapsed))
        numbers[name] = max(1, round(number * seconds / TURNS / elapsed))
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _, (name, work) in itertools.product(range(TURNS), works.items()):
        rates[name].append(numbers[name] * work.units / work.run(numbers[name]))
    return {name: float(np.median(values)) for name, values in rates.items()}


def lay_out(settings: Settings, rates: Mapping[str, float], flops: tuple[int, int]) -> str:
    """Lay out the rates and what follows from them; `flops` are those of `count_flops`."""
    flops_of_update, flops_of_pass = flops
    floor = flops_of_update / rates["matrix product"]  # seconds
    training, busy, update = rates["training"], rates["training, busy"], rates["update"]
    some_greedy = 1 - EXPLORATION_RATE**settings.num_games  # probability that the network is asked
    updates = settings.train_repeat / settings.train_frequency  # of a step
    passes = updates * flops_of_update / flops_of_pass + some_greedy
    costs = {  # seconds of a training step of one game
        "updates": updates / update,
        "predictions": some_greedy / settings.num_games / rates["predict"],
        "emulation": 1 / rates["emulation"],
    }
    alone = 1 / (costs["updates"] + costs["predictions"])  # steps/s
    rows = [
        ("matrix product", rates["matrix product"] / 1e9, "GFLOP/s, large, float32"),
        ("update, floor", 1e3 * floor, f"ms, {flops_of_update / 1e9:.3g} GFLOP / matrix product"),
        ("update", 1e3 / update, f"ms, {update:.4g}/s, ratio to floor {1 / update / floor:.3g}"),
        ("predict", 1e3 / rates["predict"], f"ms, {settings.num_games} state(s)"),
        ("emulation", rates["emulation"], "steps/s, random actions"),
        ("training", training, f"steps/s, ratio to updates and predictions {training / alone:.3g}"),
        ("passes", training * passes, f"forward passes of a state/s, {passes:.3g} a step"),
        (
            "training, busy",
            busy,
            f"steps/s beside busy loops, ratio to alone {busy / training:.3g}",
        ),
    ]
    if peer := rates.get(PEER):
        rows.append((PEER, peer, f"steps/s, ratio ours to theirs {training / peer:.3g}"))
    dearest = sorted(costs, key=lambda part: -costs[part])
    shares = ", ".join(f"{part} {costs[part] * training:.0%}" for part in dearest)
    lines = [
        f"{name:20}{f'{value:,.0f}' if value >= 100 else f'{value:.3g}':>8} {note}\n"
        for name, value, note in rows
    ]
    return "".join(lines) + (
        f"\nThis machine is bound by {dearest[0]}; of a training step's time each takes by itself: "
        f"{shares} (emulation runs beside updates).\n"
    )


def count_flops(
    settings: Settings, num_actions: int, observation_shape: tuple[int, ...]
) -> tuple[int, int]:
    """Count the floating-point operations of an update and of a state's forward pass, by torch."""
    # The kernels' work torch cannot see.
    args = dataclasses.replace(settings, native_kernels=False, arithmetic="float32")
    threads = parts.choose_threads(args)._replace(device="cpu")
    network = parts.make_network(args, num_actions, observation_shape, threads, 0)
    minibatch = _minibatch(args, num_actions, observation_shape, np.dtype(np.uint8))
    with FlopCounterMode(display=False) as counter:
        network.train(minibatch)
    with FlopCounterMode(display=False) as of_pass:
        network.predict(minibatch.prestates[:1])
    return int(counter.get_total_flops()), int(of_pass.get_total_flops())


def _minibatch(
    args: Settings, num_actions: int, observation_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Minibatch:
    """Draw transitions; the numbers do not matter."""
    rng, number = np.random.default_rng(0), args.batch_size
    shape = number, parts.history_length(args, observation_shape), *observation_shape
    prestates, poststates = rng.integers(0, 256, (2, *shape)).astype(dtype)
    actions, returns = rng.integers(num_actions, size=number), rng.normal(size=number)
    ones = np.ones(number)
    weights = ones.astype(np.float32)
    return Minibatch(prestates, actions, returns, ones, poststates, weights, actions)


def _our_works(args: Settings, environment: Environment, threads: parts.Threads) -> dict[str, Work]:
    """Everything to measure but the peer; fills a replay memory by random play."""
    seed, games = args.random_seed or 0, environment.num_games
    rng = np.random.default_rng(seed)
    num_actions, shape = environment.num_actions, environment.observation_shape
    memory = parts.make_memory(args, args.replay_size, environment, threads)
    network = parts.make_network(args, num_actions, shape, threads, seed)
    agent = parts.make_agent(args, environment, environment, memory, network, seed)
    agent.callbacks.append(stopwatch := Stopwatch(network))
    agent.play_random(max(FILL_STEPS, 10 * games))
    minibatch = _minibatch(args, num_actions, shape, environment.observation_dtype)
    states = np.zeros((games, *minibatch.prestates.shape[1:]), environment.observation_dtype)
    size = 2048 if threads.device == "cpu" else 8192
    matrix = torch.rand(size, size, device=threads.device)
    actions = itertools.cycle(rng.integers(num_actions, size=(1000, games)))
    epochs = itertools.count(1)
    steps = math.lcm(args.train_frequency, games)  # so that updates come evenly
    if args.memory == "online":
        steps *= args.stretch  # the first of which has no updates
    act = in_bfloat16(network.predict) if args.arithmetic != "float32" else network.predict

    def train(number: int, *, busy: bool) -> float:
        stopwatch.busy = busy
        agent.train(next(epochs), 2 * number * steps)
        return stopwatch.seconds

    return {
        "matrix product": _repeated(
            lambda: (matrix @ matrix)[0, 0].item(), units=2 * size**3, threads=threads.network
        ),
        "update": _repeated(partial(network.train, minibatch), wait=network.mean_cost),
        "predict": _repeated(partial(act, states)),
        "emulation": _repeated(
            lambda: (environment.act(next(actions)), environment.observe()), units=games
        ),
        "training": Work(partial(train, busy=False), steps),
        "training, busy": Work(partial(train, busy=True), steps),
    }


def _peer_training(settings: Settings, game: Game, threads: parts.Threads) -> Work:
    """Training with stable-baselines3's DQN: its Nature CNN and Atari wrapper, our settings."""
    if settings.environment != "ale":
        raise UserError("--peers true compares Atari games only; leave it out")
    try:
        from stable_baselines3 import DQN
        from stable_baselines3.common import env_util, vec_env
    except ImportError as error:
        raise UserError(
            f"--peers true needs stable-baselines3 ({error}); scripts/benchmark.sh installs it"
        ) from error
    gymnasium.register_envs(ale_py)
    sticky = settings.repeat_action_probability
    steps = math.lcm(settings.train_frequency, settings.num_games)
    environment = env_util.make_atari_env(
        f"ALE/{game.name.title().replace('_', '')}-v5",
        env_kwargs={"frameskip": 1, "repeat_action_probability": sticky},
        wrapper_kwargs={"frame_skip": settings.frame_skip, "screen_size": settings.screen_height},
        n_envs=settings.num_games,
    )
    model = DQN(
        "CnnPolicy",
        vec_env.VecFrameStack(environment, settings.history_length or 4),
        buffer_size=settings.replay_size,
        learning_starts=FILL_STEPS,
        batch_size=settings.batch_size,
        train_freq=steps // settings.num_games,  # rounds of all games
        gradient_steps=steps * settings.train_repeat // settings.train_frequency,
        target_update_interval=settings.target_steps or sys.maxsize,
        exploration_initial_eps=EXPLORATION_RATE,
        exploration_final_eps=EXPLORATION_RATE,
        device=threads.device,
    )
    model.learn(FILL_STEPS)  # random play
    steps *= 25  # of a call, so that beginning one costs little
    learn = partial(model.learn, steps, reset_num_timesteps=False)
    return _repeated(learn, units=steps, threads=threads.network)


def _repeated(
    call: Callable[[], object],
    units: int = 1,
    wait: Callable[[], object] = lambda: None,
    threads: int = 1,  # of torch; the kernels have threads of their own
) -> Work:
    def run(number: int) -> float:
        before = torch.get_num_threads()  # 1 beside kernels
        torch.set_num_threads(max(threads, before))
        start = time.perf_counter()
        for _ in range(number):
            call()
        wait()
        seconds = time.perf_counter() - start
        torch.set_num_threads(before)
        return seconds

    return Work(run, units)


def _machine(threads: parts.Threads) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    name = model[1] if model else platform.processor() or platform.machine()
    gpu = "no GPU" if threads.device == "cpu" else torch.cuda.get_device_name(threads.device)
    return f"{name}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
