"""The parts of a run, made from its settings, wired together and closed at the end."""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from simple_dqn.agent import Agent, Callback
from simple_dqn.checkpoints.csv_file import CsvWriter
from simple_dqn.checkpoints.snapshot import Snapshot, check_same_actions
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.roms import Game
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ReplayMemory
from simple_dqn.run import parts
from simple_dqn.run.environments import make_environment
from simple_dqn.run.trained import check_weights
from simple_dqn.statistics import Statistics, Writer

logger = logging.getLogger(__name__)

HELD_OUT_STATES = 100
STEPS_APART = {"ale": 20}  # from one held-out state to the next
OTHER_STEPS_APART = 5  # other games than Atari's may take long for a step


class RunParts(NamedTuple):
    """The parts of a run, made together.

    Attributes:
        settings: of the run.
        csv_file: where a row per phase is added; None: nowhere.
        only_test: whether nothing is learned.
        resumed: whether a snapshot was resumed.
    """

    settings: Settings
    csv_file: Path | None
    only_test: bool
    resumed: bool
    environment: Environment
    memory: ReplayMemory
    network: DeepQNetwork
    agent: Agent
    statistics: Statistics


class _Clipping(Callback):
    """Warns of the first reward that is clipped: unlike Atari's, others seldom should be."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:  # noqa: ARG002
        """Look at the rewards."""
        rewards = time_step.rewards
        for reward in rewards[(rewards < self._least) | (rewards > self._most)][:1]:
            text = "a reward of %g is clipped to %g ... %g; --min_reward and --max_reward say so"
            logger.warning(text, reward, self._least, self._most)
            self._least, self._most = -math.inf, math.inf


@contextlib.contextmanager
def make_parts(
    settings: Settings,
    game: Game,
    snapshot: Snapshot | None,
    csv_file: Path | None,
    *,
    only_test: bool,
    callbacks: Sequence[Callback],
    writers: Sequence[Writer],
) -> Iterator[RunParts]:
    """Make the parts of a run, wire them together, and close what is open at the end.

    The weights and counters of a snapshot are where the parts begin. If nothing will be learned,
    there are no games for training, and the replay memory is as small as can be.
    """
    if only_test:
        settings = dataclasses.replace(settings, arithmetic="float32")
    seed = settings.random_seed or 0
    threads = parts.choose_threads(settings)
    logger.info(
        "%s, random seed %d, %d game(s) on %d thread(s), network on %s with %d thread(s), %s",
        game.name,
        seed,
        settings.num_games,
        threads.environment,
        threads.device,
        threads.network,
        settings.datatype if settings.arithmetic == "float32" else settings.arithmetic,
    )
    logger.debug("options: %s", vars(settings))
    with contextlib.ExitStack() as stack:

        def make(*, training: bool) -> Environment:
            made = make_environment(settings, game, threads.environment, training=training)
            return stack.enter_context(contextlib.closing(made))

        environment = test_environment = make(training=False)
        shape = environment.observation_shape
        if snapshot is not None:
            check_same_actions(snapshot, environment.action_meanings)
            check_weights(settings, snapshot, shape)
        history = parts.history_length(settings, shape)
        size = settings.batch_size + settings.num_games * (history + settings.n_step)
        if not only_test:
            environment, size = make(training=True), settings.replay_size
        memory = parts.make_memory(settings, size, environment, threads)
        if not only_test:
            size = memory.num_games * memory.lane_size
            bytes_per_step = memory.nbytes // size
            logger.info("replay memory: %s steps of %s bytes", f"{size:,}", f"{bytes_per_step:,}")
        network = parts.make_network(settings, environment.num_actions, shape, threads, seed)
        agent = parts.make_agent(settings, environment, test_environment, memory, network, seed)
        header: dict[str, Any] = {"total_train_steps": settings.start_epoch * settings.train_steps}
        if snapshot is not None:
            header = snapshot.header
            network.set_weights(snapshot.arrays)
            network.weight_updates = header["weight_updates"]
        agent.total_train_steps = header["total_train_steps"]
        rows = list(writers)
        if csv_file is not None:
            rows.insert(0, stack.enter_context(contextlib.closing(CsvWriter(csv_file))))
        logger.info("gathering %d held-out states of random play", HELD_OUT_STATES)
        apart = STEPS_APART.get(settings.environment, OTHER_STEPS_APART)
        statistics = Statistics(
            network=network,
            dead_units=network.dead_units,
            memory=memory,
            held_out_states=agent.held_out_states(HELD_OUT_STATES, apart),
            writers=rows,
            total_train_steps=agent.total_train_steps,
            replay_memory_count=header.get("replay_memory_count", 0),
            total_time=header.get("total_time", 0.0),
        )
        agent.callbacks += [statistics, *callbacks, *writers]
        if settings.environment != "ale" and not only_test:
            agent.callbacks.append(_Clipping(settings.min_reward, settings.max_reward))
        resumed = snapshot is not None and not only_test
        games = environment, memory, network, agent, statistics
        made = RunParts(settings, csv_file, only_test, resumed, *games)
        for callback in (*callbacks, *writers):
            callback.on_run_start(made)
            stack.callback(callback.on_run_end)
        yield made
