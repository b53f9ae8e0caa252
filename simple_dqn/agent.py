"""The agent: plays games, remembers what happened and has the network learn from it.

The deep Q-learning algorithm (Mnih et al. 2015, algorithm 1) is `Agent._step`; each phase of a
run (random play, training, testing) repeats it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Environment, Observation
from simple_dqn.replay_memory import Minibatch, ReplayMemory
from simple_dqn.state_buffer import StateBuffer

# The number of a phase is part of the seed of its randomness: append, never reorder.
PHASES = ("random", "train", "test", "held_out", "refill")
_STEPS_BETWEEN_HELD_OUT_STATES = 20


class Network(Protocol):
    """What the agent asks of the Q-network."""

    def predict(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Q-values (n, num_actions) of states, uint8 (n, history, height, width)."""

    def train(self, minibatch: Minibatch) -> None:
        """Take one gradient step."""

    def errors(self) -> npt.NDArray[np.float32]:
        """Of each transition of the last, weighted minibatch."""

    def update_target_network(self) -> None:
        """Copy the network to the target network."""


class Callback(Protocol):
    """Someone who watches the agent."""

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        """A phase of `total` units (`steps` or `games`) begins."""

    def on_step(self, observation: Observation, steps: int, exploration_rate: float) -> None:
        """All games made a step; `steps` of them count. The exploration rate is their mean."""

    def on_phase_end(self) -> None:
        """The phase is over."""


# One for all games, or one for each, float64 (num_games,).
Rate = float | npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearSchedule:
    """A number that goes linearly from `start` to `end` over so many steps, then stays.

    With an array as `end` each of its numbers does.
    """

    start: float
    end: Rate
    steps: int

    def at(self, step: int) -> Rate:
        """The number after so many training steps."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.steps


class Agent:
    """Plays `num_games` games in step with one network.

    Deviates: DeepMind's agent plays one game (the default here); several games all act before the
    updates that fall due in these steps.

    Every phase restarts the games and draws its random numbers from (random_seed, phase, epoch),
    so it can be repeated by itself.

    Attributes:
        total_train_steps: steps trained so far, all games and epochs together.
        callbacks: those who watch, in the order in which they are told.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        test_environment: Environment,
        memory: ReplayMemory,
        network: Network,
        history_length: int,
        exploration: LinearSchedule,
        exploration_rate_test: float,
        importance: LinearSchedule,
        train_frequency: int,
        train_repeat: int,
        target_steps: int,
        random_seed: int,
    ) -> None:
        """Put the parts together.

        Args:
            environment: played in training.
            test_environment: played in tests; as many games.
            memory: filled and sampled in training.
            network: chooses actions and learns.
            history_length: screens in a state.
            exploration: exploration rate over the training steps, one for all games or one each.
            exploration_rate_test: in tests.
            importance: exponent of the weights that make up for drawing by priority.
            train_frequency: steps from one training of the network to the next.
            train_repeat: minibatches each time.
            target_steps: steps from one copy of the target network to the next; 0: never.
            random_seed: 0 or more; all randomness comes from it.
        """
        self.total_train_steps = 0
        self.callbacks: list[Callback] = []
        self._environment = environment
        self._test_environment = test_environment
        self._memory = memory
        self._network = network
        self._exploration = exploration
        self._exploration_rate_test = exploration_rate_test
        self._importance = importance
        self._train_frequency = train_frequency
        self._train_repeat = train_repeat
        self._target_steps = target_steps
        self._random_seed = random_seed
        self._rng = np.random.default_rng(random_seed)
        self._state_buffer = StateBuffer(
            num_games=environment.num_games,
            history_length=history_length,
            screen_shape=environment.screen_shape,
        )

    def play_random(self, steps: int) -> None:
        """Fill the replay memory with random play."""
        self._play(self._environment, "random", 0, steps, lambda: 1.0, remember=True)

    def train(self, epoch: int, steps: int) -> None:
        """Play and learn for one epoch."""
        self._play(
            self._environment,
            "train",
            epoch,
            steps,
            lambda: self._exploration.at(self.total_train_steps),
            remember=True,
            learn=True,
        )

    def refill(self, epoch: int, steps: int) -> None:
        """Fill the memory of a resumed run: play as training would, but do not learn."""
        rate = self._exploration.at(self.total_train_steps)
        self._play(self._environment, "refill", epoch, steps, lambda: rate, remember=True)

    def test(self, epoch: int, steps: int) -> None:
        """Play without learning."""
        rate = self._exploration_rate_test
        self._play(self._test_environment, "test", epoch, steps, lambda: rate)

    def test_games(self, epoch: int, games: int) -> None:
        """Play a number of whole games without learning.

        Which emulator plays how many of them is settled beforehand, and each plays its share to
        the end: counting whichever games end first would favour short ones.
        """
        environment, rate = self._test_environment, self._exploration_rate_test
        shares = np.bincount(np.arange(games) % environment.num_games)
        shares.resize(environment.num_games)
        self._start_phase(environment, "test", epoch, games, "games")
        while shares.any():
            observation = self._step(environment, rate)
            playing = shares > 0
            counted = observation._replace(
                rewards=observation.rewards * playing, game_overs=observation.game_overs & playing
            )
            shares -= counted.game_overs
            self._report(counted, int(playing.sum()), rate)
        self._end_phase()

    def held_out_states(self, number: int) -> npt.NDArray[np.uint8]:
        """States from random test games, uint8 (number, history, height, width); never learned.

        They depend on the random seed and the games alone, so that every command on a run can
        gather the same ones again.
        """
        environment = self._test_environment
        self._seed_phase(environment, "held_out", 0)
        states: list[npt.NDArray[np.uint8]] = []
        while len(states) < number:
            for _ in range(_STEPS_BETWEEN_HELD_OUT_STATES):
                self._step(environment, 1.0)
            states.extend(self._state_buffer.states.copy())
        return np.stack(states[:number])

    def _play(
        self,
        environment: Environment,
        phase: str,
        epoch: int,
        steps: int,
        exploration_rate: Callable[[], Rate],
        *,
        remember: bool = False,
        learn: bool = False,
    ) -> None:
        """Play a phase of (at least) so many steps of all games together."""
        num_games = environment.num_games
        rounds = -(-steps // num_games)
        self._start_phase(environment, phase, epoch, rounds * num_games, "steps")
        for _ in range(rounds):
            rate = exploration_rate()
            observation = self._step(environment, rate, remember=remember, learn=learn)
            self._report(observation, num_games, rate)
        if remember:
            self._memory.cut()
        self._end_phase()

    def _step(
        self,
        environment: Environment,
        exploration_rate: Rate,
        *,
        remember: bool = False,
        learn: bool = False,
    ) -> Observation:
        """One step of deep Q-learning in every game: select, carry out, learn, observe, store.

        Learning comes between carrying out and observing, so that the emulators run meanwhile.
        DeepMind's agent learns at this point too (NeuralQLearner.lua, perceive).
        """
        # Select an action in each game and carry it out.
        actions = choose_actions(
            self._network,
            self._state_buffer.states,
            exploration_rate,
            environment.num_actions,
            self._rng,
        )
        environment.act(actions)

        # Train the network on random transitions from the replay memory.
        if learn:
            self._learn(environment.num_games)

        # Observe reward and new state; store the experience in the replay memory.
        observation = environment.observe()
        ends = observation.terminals | observation.game_overs
        if remember:
            self._memory.add(
                self._state_buffer.states[:, -1],
                actions,
                observation.rewards,
                observation.terminals,
                observation.game_overs,
            )
        self._state_buffer.add(observation.screens, ends)
        return observation

    def _learn(self, steps: int) -> None:
        """Do what is due after so many more steps: train the network, copy the target network."""
        due = range(self.total_train_steps + 1, self.total_train_steps + steps + 1)
        trainings = sum(step % self._train_frequency == 0 for step in due)
        minibatches: list[Minibatch] = []
        if trainings and self._memory.can_sample():
            importance = float(self._importance.at(self.total_train_steps))
            minibatches = self._memory.get_minibatches(
                self._rng, trainings * self._train_repeat, importance
            )
        for step in due:
            if step % self._train_frequency == 0 and minibatches:
                for _ in range(self._train_repeat):
                    minibatch = minibatches.pop(0)
                    self._network.train(minibatch)
                    if minibatch.weights is not None:
                        self._memory.set_priorities(minibatch, self._network.errors())
            if self._target_steps and step % self._target_steps == 0:
                self._network.update_target_network()
        self.total_train_steps += steps

    def _start_phase(
        self, environment: Environment, phase: str, epoch: int, total: int, unit: str
    ) -> None:
        self._seed_phase(environment, phase, epoch)
        for callback in self.callbacks:
            callback.on_phase_start(phase, epoch, total, unit)

    def _seed_phase(self, environment: Environment, phase: str, epoch: int) -> None:
        seeds = np.random.SeedSequence([self._random_seed, PHASES.index(phase), epoch])
        own, games = seeds.spawn(2)
        self._rng = np.random.default_rng(own)
        self._state_buffer.add(environment.restart(int(games.generate_state(1)[0])))

    def _report(self, observation: Observation, steps: int, exploration_rate: Rate) -> None:
        mean = float(np.mean(exploration_rate))
        for callback in self.callbacks:
            callback.on_step(observation, steps, mean)

    def _end_phase(self) -> None:
        for callback in self.callbacks:
            callback.on_phase_end()


def choose_actions(
    network: Network,
    states: npt.NDArray[np.uint8],
    exploration_rate: Rate,
    num_actions: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """epsilon-greedy: at random with that rate, else argmax_a Q(s, a), ties at random.

    Args:
        network: knows Q.
        states: uint8 (num_games, history, height, width).
        exploration_rate: one for all games or one each.
        num_actions: to choose from.
        rng: of all that is random here.

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
