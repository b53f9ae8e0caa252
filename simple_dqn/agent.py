"""The agent: plays games, remembers what happened and has the network learn from it.

The deep Q-learning algorithm (Mnih et al. 2015, algorithm 1) is `Agent._step`; each phase of a
run (random play, training, testing) repeats it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.replay_memory import Minibatch, ReplayMemory
from simple_dqn.state_buffer import StateBuffer

# The number of a phase is part of the seed of its randomness: append, never reorder.
SEEDED_PHASES = ("random", "train", "test", "held_out", "refill")

States = npt.NDArray[Any]  # (n, history, *observation_shape)


class Network(Protocol):
    """Q-values that can be learned: what agent, statistics and watched games ask of a Q-network.

    Attributes:
        weight_updates: gradient steps taken so far.
    """

    weight_updates: int

    def predict(self, states: States) -> npt.NDArray[np.float32]:
        """Return Q-values, float32 (n, num_actions), of states (n, history, *observation_shape)."""

    def train(self, minibatch: Minibatch) -> None:
        """Take one gradient step."""

    def errors(self) -> npt.NDArray[np.float32]:
        """Return target minus Q-value of each transition of the last minibatch, (batch,)."""

    def update_target_network(self) -> None:
        """Copy the network to the target network."""

    def mean_cost(self) -> float:
        """Return the mean loss of a transition over the updates since `reset_cost`."""

    def reset_cost(self) -> None:
        """Begin a new mean."""


class Callback:
    """Watches a run; a subclass overrides what it needs."""

    def on_run_start(self, run: Any) -> None:
        """Look at the parts of a run, a `RunParts`, before anything is played."""

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """Begin a phase of `total` units (`steps` or `games`)."""

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        """See a step of all games; `steps` of them count. The exploration rate is their mean."""

    def on_phase_end(self) -> None:
        """End the phase."""

    def on_run_end(self) -> None:
        """Close what is open: the run is over, or it failed."""


# One exploration rate for all games, or one for each, float64 (num_games,).
Rate = float | npt.NDArray[np.float64]

# `choose_actions`, or another function that takes and returns the same.
ChooseActions = Callable[[Network, States, Rate, int, np.random.Generator], npt.NDArray[np.int64]]


class Agent:
    """Plays `num_games` games in step with one network.

    Deviates: DeepMind's agent plays one game (the default here); several games all act before the
    updates that fall due in these steps.

    Every phase restarts the games and draws its random numbers from (random_seed, phase, epoch),
    so each phase can be repeated by itself.

    Attributes:
        total_train_steps: steps trained so far, all games and epochs together.
        callbacks: those who watch, in the order in which they are called.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        test_environment: Environment,
        memory: ReplayMemory,
        network: Network,
        history_length: int,
        exploration: Callable[[], ChooseActions],
        exploration_rate: Callable[[int], Rate],
        exploration_rate_test: float,
        train_frequency: int,
        train_repeat: int,
        target_steps: int,
        random_seed: int,
    ) -> None:
        """Put the parts together.

        Args:
            environment: games played in training.
            test_environment: games played in tests, where there can be fewer of them.
            memory: replay memory, filled and sampled in training.
            network: Q-network that chooses actions and learns.
            history_length: observations in a state.
            exploration: makes, for each phase, what chooses actions in play that is remembered.
            exploration_rate: exploration rate in training, by training step.
            exploration_rate_test: exploration rate in tests.
            train_frequency: steps from one training of the network to the next.
            train_repeat: minibatches in each training of the network.
            target_steps: steps from one copy of the target network to the next; 0: never.
            random_seed: 0 or more; all randomness of the agent and the games comes from this seed.
        """
        self.total_train_steps = 0
        self.callbacks: list[Callback] = []
        self._environment = environment
        self._test_environment = test_environment
        self._memory = memory
        self._network = network
        self._exploration = exploration
        self._explore = exploration()
        self._exploration_rate = exploration_rate
        self._exploration_rate_test = exploration_rate_test
        self._train_frequency = train_frequency
        self._train_repeat = train_repeat
        self._target_steps = target_steps
        self._random_seed = random_seed
        self._rng = np.random.default_rng(random_seed)
        self._make_state_buffer = partial(
            StateBuffer,
            history_length=history_length,
            observation_shape=environment.observation_shape,
            observation_dtype=environment.observation_dtype,
        )

    def play_random(self, steps: int) -> None:
        """Fill the replay memory with random play."""
        self._play("random", 0, steps, "steps", lambda: 1.0)

    def train(self, epoch: int, number: int, unit: str = "steps") -> None:
        """Play and learn for one epoch: so many steps, or until so many `games` have ended."""
        rate = self._exploration_rate
        self._play("train", epoch, number, unit, lambda: rate(self.total_train_steps))

    def refill(self, epoch: int, steps: int) -> None:
        """Fill the replay memory of a resumed run: play as in training, but do not learn."""
        rate = self._exploration_rate(self.total_train_steps)
        self._play("refill", epoch, steps, "steps", lambda: rate)

    def test(self, epoch: int, steps: int) -> None:
        """Play without learning."""
        self._play("test", epoch, steps, "steps", lambda: self._exploration_rate_test)

    def test_games(self, epoch: int, games: int) -> None:
        """Play a number of complete games without learning.

        Each copy of the environment plays its share of the games to the end. Counting the games
        that end first would favour short games.
        """
        environment, rate = self._test_environment, self._exploration_rate_test
        shares = np.bincount(np.arange(games) % environment.num_games)
        shares.resize(environment.num_games)
        self._start_phase(environment, "test", epoch, games, "games")
        while shares.any():
            time_step = self._step(environment, rate)
            playing = shares > 0
            counted = time_step._replace(
                rewards=time_step.rewards * playing, game_overs=time_step.game_overs & playing
            )
            shares -= counted.game_overs
            self._notify(counted, int(playing.sum()), rate)
        for callback in self.callbacks:
            callback.on_phase_end()

    def held_out_states(self, number: int, steps_apart: int = 20) -> States:
        """Return states of random test games, (number, history, *observation_shape).

        These states are never learned from. They depend on the random seed and the games alone.
        """
        environment = self._test_environment
        self._seed_phase(environment, "held_out", 0)
        states: list[States] = []
        while len(states) < number:
            for _ in range(steps_apart):
                self._step(environment, 1.0)
            states.extend(self._state_buffer.states.copy())
        return np.stack(states[:number])

    def _play(
        self, phase: str, epoch: int, number: int, unit: str, exploration_rate: Callable[[], Rate]
    ) -> None:
        """Play so many steps of all games together, in complete rounds, or until `games` end."""
        testing, learn = phase == "test", phase == "train"
        environment = self._test_environment if testing else self._environment
        each = environment.num_games if unit == "steps" else 1
        left = -(-number // each) * each
        self._start_phase(environment, phase, epoch, left, unit)
        while left > 0:
            rate = exploration_rate()
            time_step = self._step(environment, rate, remember=not testing, learn=learn)
            self._notify(time_step, environment.num_games, rate)
            left -= each if unit == "steps" else int(time_step.game_overs.sum())
        if not testing:
            self._memory.cut()
        for callback in self.callbacks:
            callback.on_phase_end()

    def _step(
        self,
        environment: Environment,
        exploration_rate: Rate,
        *,
        remember: bool = False,
        learn: bool = False,
    ) -> TimeStep:
        """One step of deep Q-learning in every game: select, carry out, learn, observe, store.

        Learning comes between carrying out and observing, so that the emulators run meanwhile.
        DeepMind's agent learns at this point too (NeuralQLearner.lua, perceive).
        """
        # Select an action in each game and carry it out.
        choose = self._explore if remember else choose_actions
        states, number = self._state_buffer.states, environment.num_actions
        actions = choose(self._network, states, exploration_rate, number, self._rng)
        environment.act(actions)

        # Train the network on random transitions from the replay memory.
        if learn:
            self._learn(environment.num_games)

        # Observe reward and new state; store the experience in the replay memory.
        time_step = environment.observe()
        if remember:
            seen = states[:, -1]
            self._memory.add(
                seen, actions, time_step.rewards, time_step.terminals, time_step.game_overs
            )
        ends = time_step.terminals | time_step.game_overs
        self._state_buffer.add(time_step.observations, ends)
        return time_step

    def _learn(self, steps: int) -> None:
        """Do what falls due in the next `steps` training steps: train, copy the target network.

        With train_frequency 4 and target_steps 10 (one game, a step at a time):

            step      1  2  3  4  5  6  7  8  9 10 11 12
            train              x           x           x
            copy                                 x
        """
        for _ in range(steps):
            step = self.total_train_steps + 1
            if step % self._train_frequency == 0 and self._memory.can_sample():
                for _ in range(self._train_repeat):
                    minibatch = self._memory.get_minibatch(self._rng, self.total_train_steps)
                    self._network.train(minibatch)
                    self._memory.update_priorities(minibatch, self._network.errors)
            if self._target_steps and step % self._target_steps == 0:
                self._network.update_target_network()
            self.total_train_steps = step

    def _start_phase(
        self, environment: Environment, phase: str, epoch: int, total: int, unit: str
    ) -> None:
        self._seed_phase(environment, phase, epoch)
        for callback in self.callbacks:
            callback.on_phase_start(phase, epoch, total, unit)

    def _seed_phase(self, environment: Environment, phase: str, epoch: int) -> None:
        seeds = np.random.SeedSequence([self._random_seed, SEEDED_PHASES.index(phase), epoch])
        own, games = seeds.spawn(2)
        self._rng = np.random.default_rng(own)
        self._explore = self._exploration()
        self._state_buffer = self._make_state_buffer(num_games=environment.num_games)
        self._state_buffer.add(environment.restart(int(games.generate_state(1)[0])))

    def _notify(self, time_step: TimeStep, steps: int, exploration_rate: Rate) -> None:
        mean = float(np.mean(exploration_rate))
        for callback in self.callbacks:
            callback.on_step(time_step, steps, mean)


def choose_actions(
    network: Network,
    states: States,
    exploration_rate: Rate,
    num_actions: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Choose epsilon-greedily: a random action at that rate, else argmax_a Q(s, a).

    Of actions with equal Q-values one is chosen at random, as in DeepMind's code.

    Args:
        network: Q-network that knows Q(s, a).
        states: (num_games, history, *observation_shape).
        exploration_rate: probability of a random action, one for all games or one for each.
        num_actions: number of actions to choose from.
        rng: source of all randomness here.

    Returns:
        int64 (num_games,).
    """
    actions = rng.integers(num_actions, size=len(states))
    greedy = rng.random(len(states)) >= exploration_rate
    if greedy.any():
        values = network.predict(states[greedy])  # (k, num_actions)
        best = values == values.max(axis=1, keepdims=True)
        actions[greedy] = np.where(best, rng.random(best.shape), -1).argmax(axis=1)
    return actions
