"""What this machine can do: each cost of training by itself, training, and what bounds it.

Speeds change from minute to minute on most machines, so the works take turns and the median of
each one's turns counts: the ratios in a table hold even where its speeds do not.
"""

import dataclasses
import itertools
import logging
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import ale_py
import gymnasium
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from simple_dqn import streams
from simple_dqn.agent import Agent
from simple_dqn.checkpoints.places import game_of
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import Environment
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.memory.available import available_bytes
from simple_dqn.networks.layers import QNetwork
from simple_dqn.networks.native import NativeQNetwork
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ReplayMemory
from simple_dqn.run import parts

logger = logging.getLogger(__name__)

TURNS = 5
EXPLORATION_RATE = 0.1  # Nature's from a million steps on, so for nearly all of a run
FILL_STEPS = 2_000  # of random play before training
SMALL_MEMORY = 10_000  # steps
# Times that an update goes through all weights or as many numbers: reads by the target's forward
# pass, the forward and the backward pass; the gradient written; the optimizer's 4 reads, 3 writes.
PASSES = 11
PEER, PEER_MEMORY = "stable-baselines3", 50_000  # steps of 56 kB


class Work(NamedTuple):
    """Something to measure: `run(n)` does it n times and waits for it; each counts as `units`."""

    run: Callable[[int], object]
    units: int = 1


def benchmark(settings: Settings, seconds: float, *, peers: bool) -> None:
    """Measure for `seconds` a row and write a table to standard output.

    Args:
        settings: of the game and the network.
        seconds: for each row of the table.
        peers: whether Stable-Baselines3 trains beside.
    """
    logger.info("measuring, about %.0f seconds", 15 * seconds)
    run_benchmark(settings, game_of(settings), seconds=seconds, peers=peers)


def run_benchmark(settings: Settings, game: Game, *, seconds: float, peers: bool) -> None:
    """Measure each row for `seconds` and write the table to standard output.

    Raises:
        UserError: at once, if stable-baselines3 is missing or the options need another engine.
    """
    if settings.environment != "ale" or settings.color_averaging:
        raise UserError("ALE's vector engine is measured; leave out gym and color averaging")
    bytes_per_step = settings.screen_height * settings.screen_width + 6
    most = available_bytes() // 2 // bytes_per_step
    settings = dataclasses.replace(
        settings,
        random_seed=settings.random_seed or 0,
        replay_size=min(settings.replay_size, most),
        # Any number takes as long as that which would be measured.
        pixel_mean=0.4 if settings.pixel_mean == "auto" else settings.pixel_mean,
    )
    threads = parts.choose_threads(settings)
    peer = {PEER: _peer_training(settings, game, threads)} if peers else {}
    environment = parts.make_environment(settings, game, threads, training=True)
    small = parts.make_memory(
        settings, min(SMALL_MEMORY, settings.replay_size), environment, threads
    )
    full = parts.make_memory(settings, settings.replay_size, environment, threads)
    rates = measure(_own_works(settings, threads, environment, small, full) | peer, seconds)
    streams.write(
        f"{_machine(threads)}\n{game.name}: {settings.num_games} game(s) on {threads.environment} "
        f"thread(s), network on {threads.device} with {threads.network} thread(s)\n\n"
        + report(
            settings,
            rates,
            flops=update_flops(settings, environment.num_actions),
            weights=count_weights(settings, environment.num_actions),
            bytes_each=full.nbytes // len(full),
        )
    )


def measure(works: Mapping[str, Work], seconds: float) -> dict[str, float]:
    """Units per second of each work, the median of its turns; the works take turns in rotation."""
    numbers = {name: _calibrate(work, seconds / TURNS) for name, work in works.items()}
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _, (name, work) in itertools.product(range(TURNS), works.items()):
        rates[name].append(numbers[name] * work.units / _time(work, numbers[name]))
    return {name: float(np.median(values)) for name, values in rates.items()}


def report(
    settings: Settings, rates: Mapping[str, float], *, flops: int, weights: int, bytes_each: int
) -> str:
    """Lay out the rates and what follows from them."""
    costs = step_costs(settings, rates)
    floor = flops / rates["matrix product"]  # seconds
    memory = PASSES * 4 * weights / rates["memory copy"]  # seconds
    play, training, update = rates["random play"], rates["training"], rates["update"]
    alone = 1 / (costs["updates"] + costs["predictions"])  # steps/s
    full = rates["training, full"] / training
    notes = {
        "matrix product": "GFLOP/s, large, float32",
        "memory copy": "GB/s, read and written",
        "update": f"ms, {update:.4g} updates/s, ratio to floor {1 / update / floor:.3g}, "
        f"to floor and weights {1 / update / (floor + memory):.3g}",
        "bare engine": "steps/s, random actions",
        "random play": f"steps/s, ratio to bare engine {play / rates['bare engine']:.3g}",
        "training": f"steps/s, ratio to updates and predictions alone {training / alone:.3g}",
        "training, full": f"steps/s, {settings.replay_size:,} steps, ratio to small {full:.3g}",
        "sample, full": f"ms, of {settings.replay_size:,} steps",
        PEER: f"steps/s, ratio ours to theirs {training / rates.get(PEER, training):.3g}",
    }
    rows = []
    for name, rate in rates.items():
        note = notes.get(name, "ms")
        scales = {"GFLOP/s": rate / 1e9, "GB/s": rate / 1e9, "ms": 1e3 / rate, "steps/s": rate}
        value = scales[note.partition(",")[0]]
        rows.append((name, value, note))
    rows.insert(
        2, ("update, weights", 1e3 * memory, f"ms, {PASSES} passes over the weights / memory copy")
    )
    rows.insert(1, ("update, arithmetic", flops / 1e9, f"GFLOP, {settings.batch_size} transitions"))
    rows.insert(2, ("update, floor", 1e3 * floor, "ms, arithmetic / matrix product"))
    rows.append(("replay memory", bytes_each, "bytes per transition"))
    figures = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for _, value, _ in rows]
    lines = [f"{row[0]:20}{figure:>8} {row[2]}" for row, figure in zip(rows, figures, strict=True)]
    dearest = sorted(costs, key=lambda part: -costs[part])
    shares = ", ".join(f"{part} {costs[part] * training:.0%}" for part in dearest)
    return "\n".join(lines) + (
        f"\n\nThis machine is bound by {dearest[0]}; "
        f"of a training step's time each takes by itself: {shares} "
        "(emulation runs beside updates).\n"
    )


def step_costs(settings: Settings, rates: Mapping[str, float]) -> dict[str, float]:
    """Seconds that each part of a training step of one game takes by itself."""
    some_greedy = 1 - EXPLORATION_RATE**settings.num_games  # probability that the network is asked
    return {
        "updates": settings.train_repeat / settings.train_frequency / rates["update"],
        "predictions": some_greedy / settings.num_games / rates[f"predict {settings.num_games}"],
        "emulation": 1 / rates["bare engine"],
    }


def update_flops(settings: Settings, num_actions: int) -> int:
    """Floating-point operations of an update: forward for the target, forward, backward.

    Double Q-learning adds a forward pass.
    """
    with FlopCounterMode(display=False) as counter:
        network = _network_without_numbers(settings, num_actions)
        screen = settings.screen_height, settings.screen_width
        shape = (settings.batch_size, parts.history_length(settings, screen), *screen)
        states = torch.empty(shape, dtype=torch.uint8, device="meta")
        network(states)
        if settings.double_q:
            network(states)
        network(states).sum().backward()
    return int(counter.get_total_flops())


def count_weights(settings: Settings, num_actions: int) -> int:
    """Weights and biases of the network."""
    return sum(p.numel() for p in _network_without_numbers(settings, num_actions).parameters())


def _network_without_numbers(settings: Settings, num_actions: int) -> QNetwork:
    """The network for counting: nothing is computed."""
    shape = (settings.screen_height, settings.screen_width)
    with torch.device("meta"):
        return parts.make_layers(settings, num_actions, shape)


def _own_works(
    settings: Settings,
    threads: parts.Threads,
    environment: Environment,
    small: ReplayMemory,
    full: ReplayMemory,
) -> dict[str, Work]:
    """Everything to measure but the peer; fills the memories, the small one by random play."""
    seed = settings.random_seed or 0
    rng = np.random.default_rng(seed)
    games = settings.num_games
    seen = environment.num_actions, environment.observation_shape
    network = parts.make_network(settings, *seen, threads, seed)
    agent = parts.make_agent(settings, environment, environment, small, network, seed)
    agent.play_random(max(FILL_STEPS, 10 * games))
    minibatch = small.get_minibatch(rng, 0)
    states = rng.integers(0, 256, (max(32, games), *minibatch.prestates.shape[1:]), np.uint8)

    def update(network: DeepQNetwork, number: int) -> None:
        for _ in range(number):
            network.train(minibatch)
        network.mean_cost()  # reading it waits for a GPU, as reading a number of a product does

    size = 2048 if threads.device == "cpu" else 8192
    matrix = torch.rand(size, size, generator=torch.Generator().manual_seed(0)).to(threads.device)
    works = {"matrix product": _repeated(lambda: (matrix @ matrix)[0, 0].item(), 2 * size**3)}
    numbers, copies = (torch.ones(2**25, device=threads.device) for _ in range(2))

    def copy() -> None:
        copies.copy_(numbers)
        copies[0].item()

    works["memory copy"] = _repeated(copy, 2 * numbers.nbytes)
    works["update"] = Work(partial(update, network))
    if isinstance(network._network, NativeQNetwork):
        plain = dataclasses.replace(settings, native_kernels=False)
        torchs = parts.make_network(plain, *seen, threads, seed)
        works["update, torch's"] = Work(partial(update, torchs))
    for number in sorted({1, 8, 32, games}):
        works[f"predict {number}"] = _repeated(partial(network.predict, states[:number]))
    # NB! No phases: the restart of the games at the start of one takes a quarter of a second.
    engine = environment._engine  # type: ignore[attr-defined]  # it has the same settings
    actions = itertools.cycle(rng.integers(environment.num_actions, size=(1000, games)))
    full_paddles = np.ones(games, np.float32)

    def play() -> None:
        engine.send(next(actions), full_paddles)
        engine.recv()

    def train(agent: Agent) -> None:
        for _ in range(settings.train_frequency):  # so that updates come evenly
            agent._step(environment, EXPLORATION_RATE, remember=True, learn=True)

    works["bare engine"] = _repeated(play, games)
    works["random play"] = _repeated(partial(agent._step, environment, 1.0, remember=True), games)
    works["sample"] = _repeated(partial(small.get_minibatch, rng, 0))
    works["training"] = _repeated(partial(train, agent), settings.train_frequency * games)
    zeros = np.zeros(games, np.int64)
    # NB! Reading memory that was never written takes no time, so every step is written first.
    while full.count < full.lane_size:
        full.add(states[:games, 0], zeros, zeros.astype(np.float32), zeros > 0, zeros > 0)
    other = parts.make_agent(settings, environment, environment, full, network, seed)
    other.play_random(games)
    works["sample, full"] = _repeated(partial(full.get_minibatch, rng, 0))
    works["training, full"] = _repeated(partial(train, other), settings.train_frequency * games)
    return works


def _peer_training(settings: Settings, game: Game, threads: parts.Threads) -> Work:
    """Training with stable-baselines3's DQN: its Nature CNN and Atari wrapper, our settings."""
    try:
        from stable_baselines3 import DQN
        from stable_baselines3.common import env_util, vec_env
    except ImportError as error:
        raise UserError(
            f"--peers true needs stable-baselines3 ({error}); scripts/benchmark.sh installs it, "
            "and so does pip install --editable '.[benchmark]'"
        ) from error
    gymnasium.register_envs(ale_py)
    environment = env_util.make_atari_env(
        f"ALE/{game.name.title().replace('_', '')}-v5",
        env_kwargs={
            "frameskip": 1,
            "repeat_action_probability": settings.repeat_action_probability,
        },
        wrapper_kwargs={"frame_skip": settings.frame_skip, "screen_size": settings.screen_height},
        n_envs=settings.num_games,
    )
    # Their train_freq counts rounds of all games; so many make whole gradient steps fall due.
    rounds = settings.train_frequency // math.gcd(settings.train_frequency, settings.num_games)
    steps = rounds * settings.num_games
    model = DQN(
        "CnnPolicy",
        vec_env.VecFrameStack(environment, settings.history_length or 4),
        buffer_size=min(settings.replay_size, PEER_MEMORY),
        learning_starts=FILL_STEPS,
        batch_size=settings.batch_size,
        train_freq=rounds,
        gradient_steps=steps * settings.train_repeat // settings.train_frequency,
        target_update_interval=settings.target_steps or sys.maxsize,
        exploration_initial_eps=EXPLORATION_RATE,
        exploration_final_eps=EXPLORATION_RATE,
        device=threads.device,
    )
    model.learn(FILL_STEPS)  # random play
    learn = partial(model.learn, reset_num_timesteps=False)
    return Work(lambda number: learn(number * steps), steps)


def _repeated(call: Callable[[], object], units: int = 1) -> Work:
    def run(number: int) -> None:
        for _ in range(number):
            call()

    return Work(run, units)


def _calibrate(work: Work, seconds: float) -> int:
    """How often to do the work so that it takes that long; warms it up."""
    work.run(1)
    number = 1
    while (elapsed := _time(work, number)) < seconds / 2:
        number = math.ceil(number * min(seconds / elapsed, 10))
    return max(1, round(number * seconds / elapsed))


def _time(work: Work, number: int) -> float:
    start = time.perf_counter()
    work.run(number)
    return time.perf_counter() - start


def _machine(threads: parts.Threads) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    name = model[1] if model else platform.processor() or platform.machine()
    gpu = "no GPU" if threads.device == "cpu" else torch.cuda.get_device_name(threads.device)
    return f"{name}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
