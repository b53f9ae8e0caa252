"""From options to parts: each function makes one part of a run out of the options it needs."""

import logging
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from simple_dqn.agent import Agent, ChooseActions, Network, Rate, choose_actions
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import Environment
from simple_dqn.errors import UserError
from simple_dqn.exploration import RepeatedActions
from simple_dqn.memory.device_observations import ObservationsOnDevice, free_bytes
from simple_dqn.memory.observations import ObservationsInMemory, observation_bytes
from simple_dqn.memory.online import OnlineMemory
from simple_dqn.memory.prioritized import PrioritizedReplayMemory
from simple_dqn.networks.bfloat16 import AutocastQNetwork, BFloat16Kernels, in_bfloat16
from simple_dqn.networks.cuda_graph import CudaGraph
from simple_dqn.networks.device import cores_at_hand, find_device, prepare
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.networks.heads import C51, Head, HLGauss, QuantileRegression, Values
from simple_dqn.networks.layers import QNetwork, architecture_of
from simple_dqn.networks.native import Kernels, NativeQNetwork, compile_kernels
from simple_dqn.networks.next_values import (
    DoubleValue,
    ExpectedValue,
    MaximumValue,
    MunchausenValue,
    NextValue,
    NoValue,
)
from simple_dqn.networks.optimizers import make_optimizer
from simple_dqn.networks.weights import Arrays, to_tensors
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ObservationStore, ReplayMemory
from simple_dqn.returns import NStepReturn
from simple_dqn.run.classes import find_class
from simple_dqn.run.idle_cores import IdleCores
from simple_dqn.run.schedules import LinearSchedule

logger = logging.getLogger(__name__)

NUM_ATOMS, _LARGEST_RETURN = 51, 10.0  # of C51; Bellemare et al. 2017, section 5
NUM_QUANTILES = 51  # a quarter of Dabney et al. 2018: as many outputs as C51 has
_SMALL_LAYER = 256  # units; a second thread does not make it faster


class Threads(NamedTuple):
    """Who computes where."""

    device: str
    network: int
    environment: int


def choose_threads(args: Settings) -> Threads:
    """Share the cores between network and emulators.

    On the CPU the network gets a thread per idle core at first, see `IdleCores`; or as many as
    wanted; or one if its layers are small. The emulators get half as many as there are cores: they
    run while the network learns, and more of them slow it down.
    """
    device = find_device(args.backend, args.device_id)
    cores = len(cores_at_hand())
    emulators = cores // 2 if device == "cpu" else cores - 1
    network, layers = _wanted_threads(args), architecture_of(args.network)
    if not network and not layers.convolutions and max(layers.hidden) <= _SMALL_LAYER:
        network = 1
    if not network:
        idle = IdleCores()
        time.sleep(0.2)
        network = idle.threads()
    return Threads(device, network, min(args.num_games, max(1, emulators)))


def _wanted_threads(args: Settings) -> int:
    """Return how many threads of the network a person wants; 0: that was not said."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(args.threads or 0, len(cores_at_hand())) or (int(said) if said.isdecimal() else 0)


def history_length(args: Settings, observation_shape: tuple[int, ...]) -> int:
    """Observations in a state: as said, else 4 where they are pictures, 1 where they are not."""
    return args.history_length or (4 if len(observation_shape) == 2 else 1)


def make_memory(
    args: Settings, size: int, environment: Environment, threads: Threads
) -> ReplayMemory:
    """Make the replay memory; `--replay_device` says where its observations are kept.

    It has `size` steps of all games together, rounded down to a multiple of the games.

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
    if args.memory == "online":
        size = args.num_games * (2 * args.stretch + history_length(args, shape))
    memory = MEMORIES["prioritized" if args.prioritized else "uniform"]
    if args.memory != "uniform":
        memory = find_class("memory", args.memory, MEMORIES)
    return memory(
        args,
        observations=make_store(args.num_games, size // args.num_games, shape, dtype),
        history_length=history_length(args, shape),
        batch_size=args.batch_size,
        n_step_return=NStepReturn(
            args.n_step,
            args.discount_rate,
            args.min_reward,
            args.max_reward,
            args.terminal_reward,
        ),
    )


def _make_prioritized(args: Settings, **settings: Any) -> ReplayMemory:
    end = args.importance_exponent if args.train_games else 1.0  # games end at no known step
    importance = LinearSchedule(args.importance_exponent, end, args.epochs * args.train_steps)
    return PrioritizedReplayMemory(
        priority_exponent=args.priority_exponent,
        importance_exponent=lambda step: float(importance(step)),
        **settings,
    )


def _make_online(args: Settings, **settings: Any) -> ReplayMemory:
    plain = {"n_step": 1, "target": "max", "double_q": False}
    plain |= {"target_exploration_rate": 0.0, "exploration_repeat": 1, "prioritized": False}
    plain |= {"load_experience": ()}
    others = [f"--{name}" for name, value in plain.items() if getattr(args, name) != value]
    if others:
        raise UserError(f"--memory online does not go with {', '.join(others)}; leave them out")
    return OnlineMemory(stretch=args.stretch, trace_decay=args.trace_decay, **settings)


# By the value of --memory; a class of your own is called with the same arguments.
MEMORIES: dict[str, Callable[..., ReplayMemory]] = {
    "uniform": lambda args, **settings: ReplayMemory(**settings),  # noqa: ARG005
    "prioritized": _make_prioritized,
    "online": _make_online,
}


def make_network(
    args: Settings,
    num_actions: int,
    observation_shape: tuple[int, ...],
    threads: Threads,
    random_seed: int,
) -> DeepQNetwork:
    """Make the Q-network with weights drawn from `random_seed`; or say what does not fit."""
    if args.batch_norm and args.batch_size == 1:
        raise UserError("--batch_norm needs minibatches; give --batch_size 2 or more")
    if args.batch_norm and args.layer_norm != "false":
        raise UserError("--batch_norm and --layer_norm exclude one another; give one of them")
    kernels = _compile_kernels(args, observation_shape, threads)
    Kernels.num_threads = threads.network
    device = prepare(threads.device, 1 if kernels else threads.network)
    dtype: torch.dtype = getattr(torch, args.datatype)
    head = make_head(args, device, dtype)

    def make() -> QNetwork:
        layers = make_layers(args, num_actions, observation_shape, kernels, head)
        return layers.place(device, dtype)

    network = make().init_weights(random_seed)
    target_network = make().eval() if args.target_steps else network
    made = DeepQNetwork(
        network=network,
        target_network=target_network,
        head=head,
        next_value=make_next_value(args, network, target_network, head),
        optimizer=make_optimizer(
            args.optimizer,
            network.parameters(),
            learning_rate=args.learning_rate,
            decay_rate=args.decay_rate,
            epsilon=args.adam_epsilon,
            batch_size=args.batch_size,
            gradient_norm=args.gradient_norm,
            own=kernels.optimizers() if kernels else {},
        ),
        as_graph=CudaGraph if device.type == "cuda" else lambda step: step,
    )
    made.kernels = kernels.name if kernels else f"torch-{device.type}"
    if args.arithmetic == "auto":
        low = isinstance(kernels, BFloat16Kernels)
        logger.info("--arithmetic auto: %s", "bfloat16" if low else args.datatype)
    return made


def make_layers(
    args: Settings,
    num_actions: int,
    observation_shape: tuple[int, ...],
    kernels: Kernels | None = None,
    head: Head | None = None,
) -> QNetwork:
    """Make the network's layers; kernels, if any, do the convolutions."""
    head = head or make_head(args, torch.device("cpu"), torch.float32)
    make: Callable[..., QNetwork] = AutocastQNetwork if args.arithmetic == "bfloat16" else QNetwork
    if kernels:
        make = partial(NativeQNetwork, kernels=kernels)
    return make(
        architecture_of(args.network),
        num_actions,
        history_length(args, observation_shape),
        observation_shape,
        num_atoms=head.num_atoms if head.wrap is None else 1,
        dueling=args.dueling,
        batch_norm=args.batch_norm,
        layer_norm=args.layer_norm,
        pixel_mean=0.0 if isinstance(args.pixel_mean, str) else args.pixel_mean,  # auto: see Run
        wrap=head.wrap,
    )


def make_guided_network(
    args: Settings, num_actions: int, observation_shape: tuple[int, ...], weights: Arrays
) -> GuidedNetwork:
    """Make a copy of a network for looking inside: float32, every layer torch's own."""
    device = torch.device(find_device(args.backend, args.device_id))
    head = make_head(args, device, torch.float32)
    layers = make_layers(args, num_actions, observation_shape, head=head)
    layers.load_state_dict(to_tensors(weights))
    layers.place(device, torch.float32).eval()
    return GuidedNetwork(layers, head)


def make_head(args: Settings, device: torch.device, dtype: torch.dtype) -> Head:
    """Make what the outputs mean; `dtype` is that of the weights."""
    dtype = torch.promote_types(dtype, torch.float32)  # of returns and losses
    head: Head = find_class("distributional", args.distributional, HEADS)(args, device, dtype)
    return head


def _make_bins(kind: type[C51], args: Settings, device: torch.device, dtype: torch.dtype) -> Head:
    rewards = args.min_reward, args.max_reward, args.terminal_reward or 0.0
    if max(map(abs, rewards)) > _LARGEST_RETURN:
        raise UserError(
            f"--distributional {args.distributional} knows returns of +-{_LARGEST_RETURN:g} only; "
            "bring --min_reward, --max_reward and --terminal_reward within"
        )
    return kind(NUM_ATOMS, _LARGEST_RETURN, device, dtype)


# By the value of --distributional; a class of your own is called with the same arguments.
HEADS: dict[str, Callable[[Settings, torch.device, torch.dtype], Head]] = {
    "none": lambda args, *_: Values(args.clip_error or math.inf),
    "c51": partial(_make_bins, C51),
    "hl_gauss": partial(_make_bins, HLGauss),
    "qr": lambda args, *place: QuantileRegression(NUM_QUANTILES, args.clip_error, *place),
}


def make_next_value(
    args: Settings, network: QNetwork, target_network: QNetwork, head: Head
) -> NextValue:
    """Make the value of the next state in a target; or say what does not go with it."""
    name = "double" if args.double_q and args.target in {"max", "expected"} else args.target
    if args.memory == "online":
        return NoValue(head)
    if name == "double" and not args.target_steps:
        raise UserError("Double Q-learning needs a target network; give --target_steps above 0")
    if args.target == "expected" and not args.target_exploration_rate:
        raise UserError("--target expected needs --target_exploration_rate above 0")
    if name == "munchausen" and (args.distributional in {"c51", "hl_gauss"} or args.n_step > 1):
        raise UserError(
            "--target munchausen needs --n_step 1, and --distributional none or qr; give both"
        )
    best: NextValue = find_class("target", name, TARGETS)(network, target_network, head)
    if not args.target_exploration_rate:
        return best
    if not isinstance(best, MaximumValue) or name == "munchausen":
        raise UserError(f"--target_exploration_rate does not go with --target {name}; give 0")
    return ExpectedValue(best, args.target_exploration_rate)


# By the value of --target; a class of your own is called with the same arguments.
TARGETS: dict[str, Callable[[QNetwork, QNetwork, Head], NextValue]] = {
    "max": MaximumValue,
    "expected": MaximumValue,  # of which `ExpectedValue` is made
    "double": DoubleValue,
    "munchausen": MunchausenValue,
}


def _compile_kernels(
    args: Settings, observation_shape: tuple[int, ...], threads: Threads
) -> Kernels | None:
    """Compile kernels for this CPU where they can do the network's work."""
    convolutions = architecture_of(args.network).convolutions
    pictures = convolutions and len(observation_shape) == 2
    plain = not args.batch_norm and args.layer_norm != "all"  # nothing before the ReLUs
    able = args.native_kernels and args.datatype == "float32" and plain and pictures
    if args.arithmetic == "bfloat16" and not able:
        raise UserError(
            "--arithmetic bfloat16 needs a network with convolutions, --datatype float32, "
            "--batch_norm false, --layer_norm false or true, and --native_kernels true"
        )
    if not able or threads.device != "cpu":
        return None
    height, width = observation_shape
    what = convolutions, history_length(args, observation_shape), (height, width)
    if args.arithmetic != "float32":
        try:
            return BFloat16Kernels(*what)
        except UserError:
            if args.arithmetic == "bfloat16":
                raise
    return compile_kernels(*what)


def make_agent(
    args: Settings,
    environment: Environment,
    test_environment: Environment,
    memory: ReplayMemory,
    network: Network,
    random_seed: int,
) -> Agent:
    """Make the agent; a range of exploration rates is spread evenly over the games."""
    repeated = partial(RepeatedActions, args.num_games, args.exploration_repeat)
    choose: ChooseActions = choose_actions
    if isinstance(memory, OnlineMemory):
        choose = memory.choose_actions
    explore: Callable[[], ChooseActions] = (
        repeated if args.exploration_repeat > 1 else lambda: choose
    )
    low = args.arithmetic != "float32"
    end = args.exploration_rate_end
    rate_end: Rate = np.linspace(*end, args.num_games) if isinstance(end, tuple) else end
    agent = Agent(
        environment=environment,
        test_environment=test_environment,
        memory=memory,
        network=network,
        history_length=history_length(args, environment.observation_shape),
        exploration=lambda: in_bfloat16(explore()) if low else explore(),
        exploration_rate=LinearSchedule(
            args.exploration_rate_start, rate_end, args.exploration_decay_steps
        ),
        exploration_rate_test=args.exploration_rate_test,
        train_frequency=args.train_frequency,
        train_repeat=args.train_repeat,
        target_steps=args.target_steps,
        random_seed=random_seed,
    )
    if not _wanted_threads(args):
        agent.callbacks.append(IdleCores())
    return agent
