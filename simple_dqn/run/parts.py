"""From options to parts: each function makes one part of a run out of the options that it needs."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simple_dqn.agent import Agent, LinearSchedule, Rate
from simple_dqn.environment import Environment
from simple_dqn.environments import roms as games
from simple_dqn.errors import UserError
from simple_dqn.replay_memory import ReplayMemory, Screens, ScreenStore
from simple_dqn.run.options import Settings

if TYPE_CHECKING:
    from simple_dqn.deep_q_network import DeepQNetwork
    from simple_dqn.watch.watched_game import WatchedGame

TEST_FRAMES = 18_000  # 5 minutes; Mnih et al. 2015, Methods, Evaluation procedure


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
    from simple_dqn.deep_q_network import find_device

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
    screen_shape = (args.screen_height, args.screen_width)
    if args.environment == "gym":
        from simple_dqn.environments.gym import GymEnvironment

        return GymEnvironment(
            environment_id=args.game, num_games=args.num_games, screen_shape=screen_shape
        )
    from simple_dqn.environments.atari import NO_LIMIT, ALEEnvironment
    from simple_dqn.environments.console import ConsoleEnvironment

    settings: dict[str, Any] = {
        "rom_path": game.rom_path,
        "num_games": args.num_games,
        "screen_shape": screen_shape,
        "frame_skip": args.frame_skip,
        "repeat_action_probability": args.repeat_action_probability,
        "minimal_action_set": args.minimal_action_set,
        "random_starts": args.random_starts,
        "lost_life_is_terminal": training,
        "max_frames": NO_LIMIT if training else TEST_FRAMES,
    }
    if args.color_averaging:
        return ConsoleEnvironment(**settings, color_averaging=True)
    return ALEEnvironment(**settings, num_threads=threads.environment)


def make_watched_game(
    args: Settings,
    game: games.Game,
    network: "DeepQNetwork | None",
    *,
    random_seed: int,
    max_frames: int | None = None,
) -> "WatchedGame":
    """Make a game that a person sees, with test's rules; None: it may last for ever.

    Raises:
        UserError: it is no Atari game.
    """
    from simple_dqn.environments.console import Console
    from simple_dqn.watch.watched_game import WatchedGame

    if args.environment == "gym":
        raise UserError(f"{args.game} is no Atari game: only those can be played, filmed and shown")
    seeds = np.random.SeedSequence(random_seed).generate_state(2) >> 1  # 31 bits
    console = Console(
        rom_path=game.rom_path,
        repeat_action_probability=args.repeat_action_probability,
        minimal_action_set=args.minimal_action_set,
        color_averaging=args.color_averaging,
        seed=int(seeds[0]),
        sound=True,
    )
    return WatchedGame(
        console,
        network,
        history_length=args.history_length,
        screen_shape=(args.screen_height, args.screen_width),
        frame_skip=args.frame_skip,
        exploration_rate=args.exploration_rate_test,
        random_starts=args.random_starts,
        max_frames=max_frames,
        random_seed=int(seeds[1]),
    )


def make_memory(args: Settings, size: int, threads: Threads) -> ReplayMemory:
    """Make the replay memory; its screens go where `--replay_device` says.

    Raises:
        UserError: they were to go to a GPU that the network does not use.
    """
    screen_shape = (args.screen_height, args.screen_width)
    store: Callable[[int, int, tuple[int, int]], ScreenStore] = Screens
    if threads.device == "cpu":
        if args.replay_device == "gpu":
            raise UserError("--replay_device gpu needs --backend gpu")
    elif args.replay_device != "cpu":
        from simple_dqn.memory.device_screens import DeviceScreens, free_bytes

        fits = size * screen_shape[0] * screen_shape[1] < free_bytes(threads.device)
        if fits or args.replay_device == "gpu":
            store = partial(DeviceScreens, threads.device)
    return ReplayMemory(
        size=size,
        num_games=args.num_games,
        history_length=args.history_length,
        screen_shape=screen_shape,
        batch_size=args.batch_size,
        n_step=args.n_step,
        prioritized=args.prioritized,
        priority_exponent=args.priority_exponent,
        store=store,
    )


def make_network(args: Settings, num_actions: int, threads: Threads) -> "DeepQNetwork":
    """Make the Q-network."""
    from simple_dqn.deep_q_network import DeepQNetwork

    return DeepQNetwork(
        network=args.network,
        num_actions=num_actions,
        history_length=args.history_length,
        screen_shape=(args.screen_height, args.screen_width),
        batch_norm=args.batch_norm,
        pixel_mean=args.pixel_mean,
        learning_rate=args.learning_rate,
        discount_rate=args.discount_rate,
        double_q=args.double_q,
        target_exploration_rate=args.target_exploration_rate,
        dueling=args.dueling,
        distributional=args.distributional,
        batch_size=args.batch_size,
        optimizer=args.optimizer,
        decay_rate=args.decay_rate,
        adam_epsilon=args.adam_epsilon,
        clip_error=args.clip_error,
        min_reward=args.min_reward,
        max_reward=args.max_reward,
        target_network=args.target_steps > 0,
        device=threads.device,
        datatype=args.datatype,
        native_kernels=args.native_kernels,
        random_seed=args.random_seed or 0,
        num_threads=threads.network,
    )


def make_agent(
    args: Settings,
    environment: Environment,
    test_environment: Environment,
    memory: ReplayMemory,
    network: "DeepQNetwork",
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
        history_length=args.history_length,
        exploration=LinearSchedule(
            args.exploration_rate_start, exploration_rate_end, args.exploration_decay_steps
        ),
        exploration_rate_test=args.exploration_rate_test,
        importance=LinearSchedule(args.importance_exponent, 1.0, args.epochs * args.train_steps),
        train_frequency=args.train_frequency,
        train_repeat=args.train_repeat,
        target_steps=args.target_steps,
        random_seed=random_seed,
    )
