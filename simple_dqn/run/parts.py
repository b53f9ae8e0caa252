"""From options to parts: each function makes one part of a run out of the options it needs."""

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from simple_dqn.agent import Agent, ChooseActions, Network, Rate, choose_actions
from simple_dqn.deep_q_network import DeepQNetwork, Function
from simple_dqn.environment import Environment
from simple_dqn.environments import roms as games
from simple_dqn.errors import UserError
from simple_dqn.exploration import RepeatedActions
from simple_dqn.memory.device_observations import ObservationsOnDevice, free_bytes
from simple_dqn.memory.observations import ObservationsInMemory, observation_bytes
from simple_dqn.memory.prioritized import PrioritizedReplayMemory
from simple_dqn.networks.cuda_graph import CudaGraph
from simple_dqn.networks.device import find_device, prepare
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.networks.heads import C51, Head, QuantileRegression, Values
from simple_dqn.networks.layers import QNetwork, architecture_of
from simple_dqn.networks.native import Kernels, NativeQNetwork, NativeRMSProp, compile_kernels
from simple_dqn.networks.next_values import DoubleValue, ExpectedValue, MaximumValue, NextValue
from simple_dqn.networks.optimizers import GravesRMSProp, make_optimizer
from simple_dqn.networks.weights import Arrays, to_tensors
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ObservationStore, ReplayMemory
from simple_dqn.returns import NStepReturn
from simple_dqn.run.environments import kind_of
from simple_dqn.run.schedules import LinearSchedule
from simple_dqn.watch.watched_game import VisibleGame, WatchedGame

NUM_ATOMS, _LARGEST_RETURN = 51, 10.0  # of C51; Bellemare et al. 2017, section 5
NUM_QUANTILES = 51  # a quarter of Dabney et al. 2018: as many outputs as C51 has


class Threads(NamedTuple):
    """Who computes where."""

    device: str
    network: int
    environment: int


def choose_threads(args: Settings) -> Threads:
    """Share the cores between network and emulators.

    On the CPU the network gets a thread per core (or OMP_NUM_THREADS), since it does nearly all
    the work, but no more than a minibatch keeps busy; the emulators get half as many: they run
    while the network learns, and more of them slow it down.
    """
    device = find_device(args.backend, args.device_id)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    emulators = cores // 2 if device == "cpu" else cores - 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    network = int(wanted) if wanted.isdecimal() and int(wanted) else min(cores, 8)
    return Threads(device, network, min(args.num_games, max(1, emulators)))


def make_environment(
    args: Settings, game: games.Game, threads: Threads, *, training: bool
) -> Environment:
    """Make the training or the test environment."""
    return kind_of(args).make(args, game, threads.environment, training)


def make_console(args: Settings, game: games.Game, *, random_seed: int) -> VisibleGame:
    """Make the game that a person sees, for `make_watched_game`.

    Raises:
        UserError: the game cannot be shown.
    """
    return kind_of(args).make_console(args, game, _two_seeds(random_seed)[0])


def make_watched_game(
    args: Settings,
    console: VisibleGame,
    network: Network | None,
    *,
    random_seed: int,
    max_frames: int | None = None,
) -> WatchedGame:
    """Make a game that a person sees, with test's rules; None: it may last for ever."""
    return WatchedGame(
        console,
        network,
        history_length=history_length(args, console.observation_shape),
        frame_skip=args.frame_skip if args.environment == "ale" else 1,
        exploration_rate=args.exploration_rate_test,
        random_starts=args.random_starts,
        max_frames=max_frames,
        random_seed=_two_seeds(random_seed)[1],
    )


def _two_seeds(random_seed: int) -> list[int]:
    """Seeds of the game and of those who play, 31 bits each."""
    seeds = np.random.SeedSequence(random_seed).generate_state(2) >> 1
    return [int(seed) for seed in seeds]


def history_length(args: Settings, observation_shape: tuple[int, ...]) -> int:
    """Observations in a state: as said, else 4 where they are pictures, 1 where they are not."""
    return args.history_length or (4 if len(observation_shape) == 2 else 1)


def make_memory(
    args: Settings, size: int, environment: Environment, threads: Threads
) -> ReplayMemory:
    """Make the replay memory; `--replay_device` says where its observations are kept.

    Args:
        args: options.
        size: steps of all games together; rounded down to a multiple of the games.
        environment: what the memory remembers.
        threads: who computes where.

    Raises:
        UserError: no reward is allowed, the memory is too small or too large, or the observations
            were to go to a GPU that the network does not use.
    """
    if args.min_reward > args.max_reward:
        raise UserError(
            f"--min_reward {args.min_reward:g} is above --max_reward {args.max_reward:g}; swap them"
        )
    shape, dtype = environment.observation_shape, environment.observation_dtype
    make_store: Callable[..., ObservationStore] = ObservationsInMemory
    if threads.device == "cpu":
        if args.replay_device == "gpu":
            raise UserError("--replay_device gpu needs --backend gpu")
    elif args.replay_device != "cpu":
        fits = size * observation_bytes(shape, dtype) < free_bytes(threads.device)
        if fits or args.replay_device == "gpu":
            make_store = partial(ObservationsOnDevice, threads.device)
    settings: dict[str, Any] = {
        "observations": make_store(args.num_games, size // args.num_games, shape, dtype),
        "history_length": history_length(args, shape),
        "batch_size": args.batch_size,
        "n_step_return": NStepReturn(
            args.n_step,
            args.discount_rate,
            args.min_reward,
            args.max_reward,
            args.terminal_reward,
        ),
    }
    if not args.prioritized:
        return ReplayMemory(**settings)
    importance = LinearSchedule(args.importance_exponent, 1.0, args.epochs * args.train_steps)
    return PrioritizedReplayMemory(
        priority_exponent=args.priority_exponent,
        importance_exponent=lambda step: float(importance(step)),
        **settings,
    )


def memory_text(args: Settings, memory: ReplayMemory) -> str:
    """Tell how large a replay memory is; a transition shares observations with its neighbours."""
    steps = memory.num_games * memory.lane_size
    state = args.n_step + history_length(args, memory.observation_shape)
    return (
        f"{steps:,} steps of {memory.nbytes // steps:,} bytes, {memory.nbytes / 1e6:,.1f} MB; a "
        f"transition is read from {state} observations of "
        f"{'x'.join(map(str, memory.observation_shape))} {memory.observation_dtype}"
    )


def make_network(
    args: Settings,
    num_actions: int,
    observation_shape: tuple[int, ...],
    threads: Threads,
    random_seed: int,
) -> DeepQNetwork:
    """Make the Q-network with random weights.

    Args:
        args: options.
        num_actions: number of actions in the game.
        observation_shape: shape of what the game shows.
        threads: who computes where.
        random_seed: seed of the initial weights.

    Raises:
        UserError: some options do not go together.
    """
    if args.double_q and not args.target_steps:
        raise UserError("--double_q needs a target network; give --target_steps above 0")
    if args.batch_norm and args.batch_size == 1:
        raise UserError("--batch_norm needs minibatches; give --batch_size 2 or more")
    device = prepare(threads.device, threads.network)
    dtype: torch.dtype = getattr(torch, args.datatype)
    kernels = _compile_kernels(args, observation_shape, threads)

    def make() -> QNetwork:
        return make_layers(args, num_actions, observation_shape, kernels).place(device, dtype)

    network = make().init_weights(random_seed)
    target_network = make().eval() if args.target_steps else network
    head = make_head(args, device, dtype)
    return DeepQNetwork(
        network=network,
        target_network=target_network,
        head=head,
        next_value=_make_next_value(args, network, target_network, head),
        optimizer=make_optimizer(
            args.optimizer,
            network.parameters(),
            learning_rate=args.learning_rate,
            decay_rate=args.decay_rate,
            epsilon=args.adam_epsilon,
            batch_size=args.batch_size,
            rmsprop=partial(NativeRMSProp, kernels=kernels) if kernels else GravesRMSProp,
        ),
        as_graph=CudaGraph if device.type == "cuda" else _as_it_is,
    )


def make_layers(
    args: Settings,
    num_actions: int,
    observation_shape: tuple[int, ...],
    kernels: Kernels | None = None,
) -> QNetwork:
    """Make the network's layers; kernels, if any, do the convolutions.

    Raises:
        UserError: the pixel mean was not measured, or the observations do not fit the network.
    """
    if isinstance(args.pixel_mean, str):
        raise UserError("--pixel_mean auto is for training from the beginning; give a number")
    make = partial(NativeQNetwork, kernels=kernels) if kernels else QNetwork
    return make(
        architecture_of(args.network),
        num_actions,
        history_length(args, observation_shape),
        observation_shape,
        num_atoms={"none": 1, "c51": NUM_ATOMS, "qr": NUM_QUANTILES}[args.distributional],
        dueling=args.dueling,
        batch_norm=args.batch_norm,
        pixel_mean=args.pixel_mean,
    )


def make_guided_network(
    args: Settings,
    num_actions: int,
    observation_shape: tuple[int, ...],
    weights: Arrays,
    device: str,
) -> GuidedNetwork:
    """Make a copy of a network for looking inside: float32, every layer torch's own.

    Args:
        args: options that the network was trained with.
        num_actions: number of actions in the game.
        observation_shape: shape of what the game shows.
        weights: the network's, see `DeepQNetwork.get_weights`.
        device: `cpu` or `cuda:0`.
    """
    layers = make_layers(args, num_actions, observation_shape)
    layers.load_state_dict(to_tensors(weights))
    place = torch.device(device)
    layers.place(place, torch.float32).eval()
    return GuidedNetwork(layers, make_head(args, place, torch.float32))


def make_head(args: Settings, device: torch.device, dtype: torch.dtype) -> Head:
    """Make what the outputs mean.

    Raises:
        UserError: rewards may be larger than the largest return of C51.
    """
    if args.distributional == "none":
        return Values(args.clip_error or math.inf)
    dtype = torch.promote_types(dtype, torch.float32)  # of returns and losses
    if args.distributional == "qr":
        return QuantileRegression(NUM_QUANTILES, args.clip_error, device, dtype)
    if max(abs(args.min_reward), abs(args.max_reward)) > _LARGEST_RETURN:
        raise UserError(
            f"--distributional c51 knows returns of +-{_LARGEST_RETURN:g} only; "
            "bring --min_reward and --max_reward within"
        )
    return C51(NUM_ATOMS, _LARGEST_RETURN, device, dtype)


def _make_next_value(
    args: Settings, network: QNetwork, target_network: QNetwork, head: Head
) -> NextValue:
    best = (
        DoubleValue(target_network, head, network)
        if args.double_q
        else MaximumValue(target_network, head)
    )
    if args.target_exploration_rate:
        return ExpectedValue(best, args.target_exploration_rate)
    return best


def _compile_kernels(
    args: Settings, observation_shape: tuple[int, ...], threads: Threads
) -> Kernels | None:
    """Compile kernels for this CPU where they can do the network's work."""
    convolutions = architecture_of(args.network).convolutions
    able = threads.device == "cpu" and args.datatype == "float32" and not args.batch_norm
    if not (args.native_kernels and able and convolutions and len(observation_shape) == 2):
        return None
    height, width = observation_shape
    history = history_length(args, observation_shape)
    return compile_kernels(convolutions, history, (height, width), threads.network)


def _as_it_is(function: Function) -> Function:
    return function


def make_agent(
    args: Settings,
    environment: Environment,
    test_environment: Environment,
    memory: ReplayMemory,
    network: Network,
    random_seed: int,
) -> Agent:
    """Make the agent; a range of exploration rates is spread evenly over the games."""
    exploration_rate_end: Rate
    if isinstance(args.exploration_rate_end, tuple):
        exploration_rate_end = np.linspace(*args.exploration_rate_end, args.num_games)
    else:
        exploration_rate_end = args.exploration_rate_end
    return Agent(
        environment=environment,
        test_environment=test_environment,
        memory=memory,
        network=network,
        history_length=history_length(args, environment.observation_shape),
        exploration=partial(_make_exploration, args),
        exploration_rate=LinearSchedule(
            args.exploration_rate_start, exploration_rate_end, args.exploration_decay_steps
        ),
        exploration_rate_test=args.exploration_rate_test,
        train_frequency=args.train_frequency,
        train_repeat=args.train_repeat,
        target_steps=args.target_steps,
        random_seed=random_seed,
    )


def _make_exploration(args: Settings) -> ChooseActions:
    if args.exploration_repeat == 1:
        return choose_actions
    return RepeatedActions(args.num_games, args.exploration_repeat)
