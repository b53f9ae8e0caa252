"""The agent's loops, with doubles that write each call on a tape."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from catch import Catch

from simple_dqn.agent import Agent, ChooseActions, Network, Rate, choose_actions
from simple_dqn.environment import Environment, TimeStep
from simple_dqn.exploration import RepeatedActions
from simple_dqn.memory.observations import ObservationsInMemory
from simple_dqn.replay_memory import Minibatch, ReplayMemory
from simple_dqn.returns import NStepReturn
from simple_dqn.run.schedules import LinearSchedule

HISTORY_LENGTH = 4
Tape = list[str]
States = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Actions = npt.NDArray[np.int64]


class ScriptedGames(Environment):
    """Games of given lengths, whatever is done; every step brings reward 1.

    The four pixels of a screen are where it was seen: emulator, phase, game and step of the game,
    all counted from 1.
    """

    def __init__(
        self,
        lengths: Sequence[Sequence[int]],
        *,
        life: int = 10**9,
        limit: bool = False,
        tape: Tape | None = None,
    ) -> None:
        """Lengths in steps of each emulator's games, over and over; every `life` steps one is lost.

        With `limit` games are cut short instead of ending.
        """
        self.num_games = len(lengths)
        self.action_meanings = ("NOOP", "UP", "DOWN", "FIRE")
        self.num_actions = len(self.action_meanings)
        self.observation_shape = (2, 2)
        self.observation_dtype = np.dtype(np.uint8)
        self.seeds: list[int] = []
        self.actions: list[list[int]] = []  # by step
        self._lengths, self._life, self._limit = lengths, life, limit
        self.tape: Tape = [] if tape is None else tape
        self._phase = 0
        self._games = np.ones(self.num_games, np.int64)
        self._steps = np.ones(self.num_games, np.int64)

    def restart(self, seed: int) -> States:
        assert 0 <= seed < 2**32
        self.tape.append("restart")
        self.seeds.append(seed)
        self._phase += 1
        self._games.fill(1)
        self._steps.fill(1)
        return self._screens()

    def act(self, actions: Actions) -> None:
        assert actions.shape == (self.num_games,)
        assert actions.dtype == np.int64
        self.tape.append("act")
        self.actions.append(actions.tolist())

    def observe(self) -> TimeStep:
        self.tape.append("observe")
        lengths = [
            own[(game - 1) % len(own)] for own, game in zip(self._lengths, self._games, strict=True)
        ]
        game_overs = self._steps == np.array(lengths)
        terminals = self._steps % self._life == 0
        if not self._limit:
            terminals |= game_overs
        self._games += game_overs
        self._steps = np.where(game_overs, 1, self._steps + 1)
        rewards = np.ones(self.num_games, np.float32)
        return TimeStep(self._screens(), rewards, terminals, game_overs)

    def close(self) -> None:
        self.tape.append("close")

    def _screens(self) -> States:
        emulators = np.arange(1, self.num_games + 1)
        phases = np.full(self.num_games, self._phase)
        pixels = np.stack([emulators, phases, self._games, self._steps], axis=1)
        assert pixels.max() < 256
        return pixels.astype(np.uint8).reshape(-1, 2, 2)


Where = tuple[int, ...]  # the pixels of a screen of ScriptedGames; all 0: blank


def where(screen: States) -> Where:
    return tuple(screen.ravel().tolist())


class Transition(NamedTuple):
    prestate: list[Where]
    action: int
    reward: float
    poststate: list[Where]
    terminal: bool


def transitions_of(minibatch: Minibatch) -> list[Transition]:
    return [
        Transition(
            list(map(where, prestate)),
            int(action),
            float(returned),
            list(map(where, poststate)),
            not discount,
        )
        for prestate, action, returned, discount, poststate in zip(*minibatch[:5], strict=True)
    ]


def zeros(states: States) -> Values:
    return np.zeros((len(states), 4), np.float32)


class TapedNetwork:
    """Writes calls on a tape; its Q-values are a given function of the states."""

    def __init__(self, tape: Tape, values: Callable[[States], Values]) -> None:
        self.weight_updates = 0
        self.predicted: list[States] = []
        self.learned: list[list[Transition]] = []
        self._tape = tape
        self._values = values

    def predict(self, states: States) -> Values:
        self._tape.append("predict")
        self.predicted.append(states.copy())
        return self._values(states)

    def train(self, minibatch: Minibatch) -> None:
        self._tape.append("train")
        self.weight_updates += 1
        self.learned.append(transitions_of(minibatch))

    def errors(self) -> npt.NDArray[np.float32]:
        raise AssertionError("nobody draws by priority here")

    def update_target_network(self) -> None:
        self._tape.append("copy")

    def mean_cost(self) -> float:
        return 0.0

    def reset_cost(self) -> None:
        pass


class TapedMemory(ReplayMemory):
    """Writes calls on a tape."""

    def __init__(self, environment: Environment, tape: Tape) -> None:
        games, shape = environment.num_games, environment.observation_shape
        lane_size = max(400 // games, 5)
        super().__init__(
            observations=ObservationsInMemory(games, lane_size, shape, np.dtype(np.uint8)),
            history_length=HISTORY_LENGTH,
            batch_size=8,
            n_step_return=NStepReturn(1, 0.99, -1e9, 1e9),
        )
        self._tape = tape
        self.sampled_at: list[int] = []

    def add(self, observations: States, *step: npt.NDArray[Any]) -> None:
        self._tape.append("store")
        super().add(observations, *step)

    def get_minibatch(self, rng: np.random.Generator, step: int) -> Minibatch:
        self._tape.append("sample")
        self.sampled_at.append(step)
        return super().get_minibatch(rng, step)

    def update_priorities(self, *_: object) -> None:
        self._tape.append("priorities")

    def cut(self) -> None:
        self._tape.append("cut")
        super().cut()


class Recorder:
    """A callback that keeps its arguments."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int, str]] = []
        self.ended_phases = 0
        self.time_steps: list[TimeStep] = []
        self.steps: list[int] = []
        self.rates: list[float] = []

    def on_phase_start(self, phase: str, epoch: int, total: int, unit: str) -> None:
        assert len(self.phases) == self.ended_phases
        self.phases.append((phase, epoch, total, unit))

    def on_step(self, time_step: TimeStep, steps: int, exploration_rate: float) -> None:
        assert len(self.phases) == self.ended_phases + 1
        self.time_steps.append(TimeStep(*(field.copy() for field in time_step)))
        self.steps.append(steps)
        self.rates.append(exploration_rate)

    def on_phase_end(self) -> None:
        self.ended_phases += 1


class Parts(NamedTuple):
    """An agent and what it works with."""

    agent: Agent
    network: TapedNetwork
    memory: TapedMemory
    recorder: Recorder
    tape: Tape


def make_parts(
    environment: Environment,
    test_environment: Environment | None = None,
    *,
    values: Callable[[States], Values] = zeros,
    rate: LinearSchedule | float = 0.0,
    **changes: Any,
) -> Parts:
    """An agent with doubles; changes are arguments of `Agent`."""
    tape: Tape = getattr(environment, "tape", [])
    network, memory = TapedNetwork(tape, values), TapedMemory(environment, tape)
    settings = {
        "exploration": lambda: choose_actions,
        "exploration_rate_test": 0.0,
        "train_frequency": 1,
        "train_repeat": 1,
        "target_steps": 0,
        "random_seed": 0,
    }
    agent = Agent(
        environment=environment,
        test_environment=environment if test_environment is None else test_environment,
        memory=memory,
        network=network,
        history_length=HISTORY_LENGTH,
        exploration_rate=LinearSchedule(rate, rate, 1) if isinstance(rate, float) else rate,
        **settings | changes,
    )
    recorder = Recorder()
    agent.callbacks.append(recorder)
    return Parts(agent, network, memory, recorder, tape)


def acts_before(tape: Tape, call: str) -> list[int]:
    """For each such call the number of the step that it fell in, from 1."""
    return [tape[:index].count("act") for index, name in enumerate(tape) if name == call]


# ---- The order within a step, and when learning is due.


def test_order_of_a_training_phase() -> None:
    """Nothing is learned until a transition is complete; learning falls between act and observe."""
    parts = make_parts(ScriptedGames([[100]]), target_steps=4)
    parts.agent.train(1, 4)
    assert parts.tape == [
        "restart",
        *("predict", "act", "observe", "store"),
        *("predict", "act", "observe", "store"),
        *("predict", "act", "sample", "train", "priorities", "observe", "store"),
        *("predict", "act", "sample", "train", "priorities", "copy", "observe", "store"),
        "cut",
    ]


def test_order_of_learning_in_several_games() -> None:
    """Eight games make eight steps at once; what is due at each comes in turn."""
    parts = make_parts(
        ScriptedGames([[100]] * 8), train_frequency=4, train_repeat=2, target_steps=8
    )
    parts.agent.play_random(24)
    parts.tape.clear()
    parts.agent.train(1, 8)
    learning = [*["sample", "train", "priorities"] * 4, "copy"]
    assert parts.memory.sampled_at == [3, 3, 7, 7]
    assert parts.tape == ["restart", "predict", "act", *learning, "observe", "store", "cut"]


def test_order_of_the_other_phases() -> None:
    environment = ScriptedGames([[2]])
    parts = make_parts(environment, ScriptedGames([[2]], tape=environment.tape), target_steps=1)
    agent = parts.agent
    plays: list[tuple[Callable[[], object], tuple[str, ...]]] = [
        (lambda: agent.play_random(2), (*("act", "observe", "store") * 2, "cut")),
        (lambda: agent.refill(1, 2), (*("predict", "act", "observe", "store") * 2, "cut")),
        (lambda: agent.test(1, 1), ("predict", "act", "observe")),
        (lambda: agent.test_games(1, 1), ("predict", "act", "observe") * 2),
    ]
    for play, expected in plays:
        parts.tape.clear()
        play()
        assert parts.tape == ["restart", *expected]


@pytest.mark.parametrize(
    ("num_games", "call", "changes", "expected"),
    [
        (1, "train", {"train_frequency": 1}, list(range(1, 25))),
        (1, "train", {"train_frequency": 8, "train_repeat": 2}, [8, 8, 16, 16, 24, 24]),
        (1, "train", {"train_frequency": 25}, []),
        (2, "train", {"train_frequency": 4}, [2, 4, 6, 8, 10, 12]),
        (3, "train", {"train_frequency": 4}, [2, 3, 4, 6, 7, 8]),  # at steps 4, 8, ... of 3, 6, ...
        (8, "train", {"train_frequency": 4}, [1, 1, 2, 2, 3, 3]),
        (8, "train", {"train_frequency": 24, "train_repeat": 3}, [3, 3, 3]),
        (1, "copy", {"target_steps": 5}, [5, 10, 15, 20]),
        (1, "copy", {"target_steps": 24}, [24]),
        (1, "copy", {"target_steps": 25}, []),
        (4, "copy", {"target_steps": 6}, [2, 3, 5, 6]),  # at steps 6, 12, 18, 24 of 4, 8, ..., 24
        (8, "copy", {"target_steps": 2}, [1] * 4 + [2] * 4 + [3] * 4),
        (8, "copy", {"target_steps": 0}, []),
    ],
)
def test_when_the_network_is_trained_and_the_target_network_copied(
    num_games: int, call: str, changes: dict[str, int], expected: list[int]
) -> None:
    parts = make_parts(ScriptedGames([[100]] * num_games), **changes)
    parts.agent.play_random(32)
    parts.tape.clear()
    parts.agent.train(1, 24)
    assert acts_before(parts.tape, call) == expected


@pytest.mark.parametrize("num_games", [1, 2])
def test_steps_are_counted_over_all_training_phases(num_games: int) -> None:
    """No epoch begins at 0 again, as the original's target copies did; tests do not count."""
    parts = make_parts(
        ScriptedGames([[100]] * num_games),
        ScriptedGames([[100]] * num_games),
        train_frequency=4,
        target_steps=10,
    )
    parts.agent.play_random(18)
    parts.tape.clear()
    for epoch in range(1, 5):
        parts.agent.train(epoch, 6)
        parts.agent.test(epoch, 6)
    assert parts.agent.total_train_steps == 24
    assert [act * num_games for act in acts_before(parts.tape, "train")] == [4, 8, 12, 16, 20, 24]
    assert [act * num_games for act in acts_before(parts.tape, "copy")] == [10, 20]


def test_counting_continues_where_a_resumed_run_stopped() -> None:
    exploration = LinearSchedule(1.0, 0.0, 20)
    parts = make_parts(ScriptedGames([[100]]), rate=exploration, train_frequency=4, target_steps=9)
    parts.agent.total_train_steps = 7
    parts.agent.refill(1, 3)
    parts.tape.clear()
    parts.agent.train(2, 6)
    assert acts_before(parts.tape, "train") == [1, 5]  # at steps 8 and 12
    assert acts_before(parts.tape, "copy") == [2]  # at step 9
    rates = [exploration(step) for step in (7, 7, 7, 7, 8, 9, 10, 11, 12)]
    assert parts.recorder.rates == rates


def test_nothing_is_learned_while_no_transition_is_legal() -> None:
    """Games of one step, all cut short: the memory fills but never has a successor."""
    parts = make_parts(ScriptedGames([[1], [1]], limit=True))
    parts.agent.train(1, 60)
    assert len(parts.memory) == 60
    assert "train" not in parts.tape


# ---- What the callbacks get.


def test_callbacks_get_phases_steps_and_rates() -> None:
    """Steps are rounded up to complete rounds of all games."""
    exploration = LinearSchedule(1.0, 0.5, 20)
    parts = make_parts(
        ScriptedGames([[3]] * 4),
        ScriptedGames([[3]] * 4),
        rate=exploration,
        exploration_rate_test=0.05,
    )
    recorder = parts.recorder
    parts.agent.play_random(5)
    parts.agent.train(1, 10)
    parts.agent.test(1, 4)
    parts.agent.train(2, 12)
    parts.agent.test_games(2, 4)
    parts.agent.refill(2, 1)
    assert recorder.phases == [
        ("random", 0, 8, "steps"),
        ("train", 1, 12, "steps"),
        ("test", 1, 4, "steps"),
        ("train", 2, 12, "steps"),
        ("test", 2, 4, "games"),
        ("refill", 2, 4, "steps"),
    ]
    assert recorder.ended_phases == 6
    assert recorder.steps == [4] * 13
    assert parts.agent.total_train_steps == 24
    trained = [exploration(step) for step in (0, 4, 8, 12, 16, 20)]
    assert recorder.rates == [1, 1, *trained[:3], 0.05, *trained[3:], 0.05, 0.05, 0.05, 0.5]


# ---- Exploration.


@pytest.mark.parametrize(
    ("start", "end", "decay_steps", "rates"),
    [
        (1.0, 0.1, 100, {0: 1.0, 50: 0.55, 99: 0.109, 100: 0.1, 101: 0.1, 10**9: 0.1}),
        (1.0, 0.1, 1, {0: 1.0, 1: 0.1}),
        (0.2, 0.6, 4, {3: 0.5}),
        (0.3, 0.3, 7, {5: 0.3}),
    ],
)
def test_exploration_rate_moves_to_its_end(
    start: float, end: float, decay_steps: int, rates: dict[int, float]
) -> None:
    schedule = LinearSchedule(start, end, decay_steps)
    assert {step: schedule(step) for step in rates} == pytest.approx(rates)


def five_sigmas(probability: float, number: int) -> float:
    """How far a frequency may be off."""
    return 5 * float(np.sqrt(probability * (1 - probability) / number))


def favourites(states: States) -> Actions:
    """An action that depends on emulator and step."""
    return (states[:, -1, 0, 0].astype(np.int64) + states[:, -1, 1, 1]) % 4


def favour_one(states: States) -> Values:
    """Negative Q-values of another size in each state, the greatest for the favourite."""
    values = np.tile(-2 - states[:, -1, :1, 0].astype(np.float32), (1, 4))
    values[np.arange(len(states)), favourites(states)] += 0.01
    return values


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_exploration_rate_is_the_frequency_of_random_actions(rate: float) -> None:
    """The network is asked about the other games only, and each gets the action meant for it."""
    num_games, rounds = 100, 60
    environment = ScriptedGames([[100]] * num_games)
    parts = make_parts(environment, values=favour_one, rate=rate, train_frequency=10**9)
    parts.agent.train(1, num_games * rounds)

    predicted = iter(parts.network.predicted)
    number_greedy, random_actions = 0, []
    for step, actions in enumerate(environment.actions, start=1):
        greedy = set()
        if rate < 1:
            states = next(predicted)
            assert (states[:, -1, 1, 1] == step).all()
            emulators = states[:, -1, 0, 0].astype(np.int64) - 1
            assert [actions[emulator] for emulator in emulators] == favourites(states).tolist()
            greedy = set(emulators.tolist())
            assert len(greedy) == len(states)
        number_greedy += len(greedy)
        random_actions += [actions[game] for game in range(num_games) if game not in greedy]
    assert next(predicted, None) is None

    number = num_games * rounds
    assert number_greedy + len(random_actions) == number
    assert len(random_actions) / number == pytest.approx(rate, abs=five_sigmas(rate, number))
    if rate:
        frequencies = np.bincount(random_actions, minlength=4) / len(random_actions)
        bound = five_sigmas(1 / 4, len(random_actions))
        np.testing.assert_allclose(frequencies, [1 / 4] * 4, rtol=0, atol=bound)


def choose_repeatedly(
    rate: Rate, *, num_games: int, longest: int, rounds: int, num_actions: int = 500
) -> Actions:
    """Actions (rounds, num_games) of a `RepeatedActions`; greedy ones are 0, few random ones are.

    Two random actions are seldom the same.
    """

    def favour_zero(states: States) -> Values:
        return np.tile(-np.arange(num_actions, dtype=np.float32), (len(states), 1))

    network, rng = TapedNetwork([], favour_zero), np.random.default_rng(0)
    choose = RepeatedActions(num_games, longest)
    states = np.zeros((num_games, HISTORY_LENGTH, 2, 2), np.uint8)
    return np.stack([choose(network, states, rate, num_actions, rng) for _ in range(rounds)])


def durations(actions: Actions) -> Actions:
    """For how many steps each action but the last was kept, of one game."""
    return np.diff(np.flatnonzero(np.diff(actions, prepend=-1)))


@pytest.mark.parametrize("longest", [2, 100])
def test_random_actions_are_kept_by_the_zeta_distribution(longest: int) -> None:
    """In each game by itself, the probability of n steps is proportional to n^-2."""
    actions = choose_repeatedly(1.0, num_games=4, longest=longest, rounds=30_000, num_actions=10**6)
    probabilities = np.array([n**-2.0 for n in range(1, longest + 1)])
    probabilities /= probabilities.sum()
    begins = []
    for game in range(4):
        kept = durations(actions[:, game])
        assert kept.max() <= longest
        assert kept.max() > longest / 2
        for n in (1, 2, 3, 10, 50):
            if n <= longest:
                expected = float(probabilities[:n].sum())
                bound = five_sigmas(expected, len(kept))
                assert (kept <= n).mean() == pytest.approx(expected, abs=bound + 1e-12)
        begins.append(np.diff(actions[:, game]) != 0)
    # Games begin random actions at times of their own: the correlations are those of chance.
    correlations = np.corrcoef(begins)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 * 3 / np.sqrt(30_000)  # a begin depends on 3 steps
    assert len(np.unique(actions)) > 0.9 * sum(map(sum, begins))


def test_exploration_rate_is_the_frequency_at_which_random_actions_begin() -> None:
    """A game whose rate is 0 is never disturbed by the others'."""
    rates = np.array([0.0, 0.05, 0.4])
    actions = choose_repeatedly(rates, num_games=3, longest=100, rounds=10_000)
    assert (actions[:, 0] == 0).all()
    for game in (1, 2):
        own = actions[:, game]
        begins = (own != 0) & (np.diff(own, prepend=0) != 0)
        free = (own == 0) | begins
        rate = float(rates[game])
        assert begins[free].mean() == pytest.approx(rate, abs=five_sigmas(rate, free.sum()))
        assert (own != 0).mean() > 2 * rate / (1 + rate)


def test_only_what_is_remembered_is_played_with_lasting_exploration() -> None:
    """Each phase begins with nothing to be kept; tests and held-out states are epsilon-greedy."""
    made: list[list[float]] = []

    def explore() -> ChooseActions:
        rates: list[float] = []
        made.append(rates)

        def choose(network: Network, states: States, rate: Rate, *others: Any) -> Actions:
            rates.append(float(np.mean(rate)))
            return choose_actions(network, states, rate, *others)

        return choose

    environment = ScriptedGames([[3]])
    agent = make_parts(environment, exploration=explore, rate=0.5).agent
    made.clear()
    agent.held_out_states(1)
    agent.play_random(2)
    agent.train(1, 3)
    agent.test(1, 4)
    agent.test_games(1, 1)
    agent.refill(1, 1)
    assert made == [[], [1, 1], [0.5] * 3, [], [], [0.5]]


@pytest.mark.parametrize(
    ("values", "best"),
    [([0, 2, 1, 2], [1, 3]), ([-1, -1, -3, -1], [0, 1, 3]), ([0, 0, 0, 0], [0, 1, 2, 3])],
)
def test_ties_are_broken_at_random(values: list[float], best: list[int]) -> None:
    environment = ScriptedGames([[100]] * 100)

    def equal(states: States) -> Values:
        return np.tile(np.array(values, np.float32), (len(states), 1))

    make_parts(environment, values=equal).agent.test(1, 4000)
    counts = np.bincount(np.ravel(environment.actions), minlength=4)
    expected = np.zeros(4)
    expected[best] = 1 / len(best)
    bound = five_sigmas(1 / len(best), 4000)
    np.testing.assert_allclose(counts / 4000, expected, rtol=0, atol=bound)
    assert (counts[expected == 0] == 0).all()


# ---- States.


def steps_acted_on(network: TapedNetwork) -> list[list[int]]:
    """Steps of the game that the screens of each state are from; 0: blank."""
    return [states[0, :, 1, 1].tolist() for states in network.predicted]


def test_lost_lives_ends_and_new_phases_blank_the_history() -> None:
    parts = make_parts(ScriptedGames([[6]], life=3), ScriptedGames([[2]], limit=True))
    parts.agent.train(1, 8)
    parts.agent.test(1, 3)
    assert steps_acted_on(parts.network) == [
        *([0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3]),
        *([0, 0, 0, 4], [0, 0, 4, 5], [0, 4, 5, 6]),  # a new life
        *([0, 0, 0, 1], [0, 0, 1, 2]),  # a new game
        *([0, 0, 0, 1], [0, 0, 1, 2]),  # a new phase
        [0, 0, 0, 1],  # after the time limit
    ]
    games = [int(states[0, -1, 1, 0]) for states in parts.network.predicted]
    assert games == [1] * 6 + [2] * 2 + [1] * 2 + [2]
    game_overs = [int(seen.game_overs[0]) for seen in parts.recorder.time_steps]
    assert game_overs == [0] * 5 + [1] + [0] * 3 + [1] + [0]


@pytest.mark.parametrize("limit", [False, True])
def test_what_is_learned_is_what_was_acted_on(limit: bool) -> None:
    """Same states, actions and rewards; several phases and games, lost lives, a full memory."""
    lengths = [[7], [3, 12], [40]]
    environment = ScriptedGames(lengths, life=5, limit=limit)
    parts = make_parts(environment, train_frequency=2)
    for epoch in (1, 2, 3):
        parts.agent.train(epoch, 237)  # ends in the midst of all games
    acted: dict[Where, tuple[list[Where], int]] = {}
    for states, actions in zip(parts.network.predicted, environment.actions, strict=True):
        for state, action in zip(states, actions, strict=True):
            screens = [where(screen) for screen in state]
            acted[screens[-1]] = screens, action

    learned = [transition for batch in parts.network.learned for transition in batch]
    assert len(parts.memory) < 3 * 237 < len(learned)
    for transition in learned:
        emulator, phase, game, step = transition.prestate[-1]
        assert (transition.prestate, transition.action) == acted[emulator, phase, game, step]
        assert transition.reward == 1
        own_lengths = lengths[emulator - 1]
        ends = step == own_lengths[(game - 1) % len(own_lengths)]
        assert transition.terminal == (step % 5 == 0 or (ends and not limit))
        if transition.terminal:
            assert transition.poststate == [*transition.prestate[1:], (0, 0, 0, 0)]
        else:
            assert transition.poststate == acted[emulator, phase, game, step + 1][0]


# ---- Tests.


def test_tests_neither_store_nor_learn() -> None:
    environment, test_environment = (ScriptedGames([[3], [5]]) for _ in range(2))
    parts = make_parts(environment, test_environment, target_steps=1)
    parts.agent.train(1, 20)
    acts = len(environment.actions)
    parts.tape.clear()
    parts.agent.test(1, 50)
    parts.agent.test_games(1, 7)
    parts.agent.held_out_states(10)
    assert set(parts.tape) == {"predict"}
    assert len(parts.memory) == 20
    assert parts.agent.total_train_steps == 20
    assert len(environment.actions) == acts
    assert len(test_environment.actions) > 25


@pytest.mark.parametrize("games", [0, 1, 3, 4, 7, 8, 30])
@pytest.mark.parametrize("limit", [False, True])
def test_every_emulator_plays_its_share_of_the_games(games: int, limit: bool) -> None:
    """The shares are fixed beforehand: long games count as much as short ones, or cut ones."""
    lengths = [[60], [2], [1, 5], [3]]
    parts = make_parts(ScriptedGames([[9]] * 4), ScriptedGames(lengths, limit=limit))
    parts.agent.test_games(1, games)

    shares = [games // 4 + (emulator < games % 4) for emulator in range(4)]
    expected = [
        own[game % len(own)]
        for own, share in zip(lengths, shares, strict=True)
        for game in range(share)
    ]
    assert len(expected) == games
    observations = parts.recorder.time_steps
    finished = sum((seen.game_overs for seen in observations), np.zeros(4, np.int64))
    assert finished.tolist() == shares
    # Every step brings reward 1: rewards, steps and lengths are the same.
    assert sum(seen.rewards.sum() for seen in observations) == sum(expected)
    assert sum(parts.recorder.steps) == sum(expected)


def test_held_out_states_are_of_random_games_and_distinct() -> None:
    parts = make_parts(ScriptedGames([[9]] * 3), ScriptedGames([[200]] * 3))
    states = parts.agent.held_out_states(10)
    assert states.shape == (10, HISTORY_LENGTH, 2, 2)
    assert states.dtype == np.uint8
    assert len({where(state[-1]) for state in states}) == 10
    for state in states:
        emulator, phase, game, step = where(state[-1])
        earlier = range(step - HISTORY_LENGTH + 1, step + 1)
        assert [where(screen) for screen in state] == [
            (emulator, phase, game, number) for number in earlier
        ]
    assert not parts.network.predicted


# ---- Phases can be repeated by themselves.

PROJECTION = np.random.default_rng(0).normal(size=(36 * 36, 3)).astype(np.float32)
Play = Callable[[Agent], object]


def project(states: States) -> Values:
    """Q-values that depend on all of the last screen of Catch."""
    return states[:, -1].reshape(len(states), -1).astype(np.float32) @ PROJECTION


def play_catch(play: Play, *, before: Play = lambda _: None, random_seed: int = 0) -> list[object]:
    """What a phase shows and returns, after another one by the same agent."""
    parts = make_parts(
        Catch(num_games=3),
        Catch(num_games=3),
        values=project,
        rate=0.5,
        exploration_rate_test=0.5,
        random_seed=random_seed,
    )
    before(parts.agent)
    parts.recorder.time_steps.clear()
    returned = play(parts.agent)
    seen = [[field.tolist() for field in seen] for seen in parts.recorder.time_steps]
    return [seen, None if returned is None else np.asarray(returned).tolist()]


PHASES: dict[str, Play] = {
    "random": lambda agent: agent.play_random(60),
    "refill": lambda agent: agent.refill(3, 60),
    "test": lambda agent: agent.test(3, 60),
    "test_games": lambda agent: agent.test_games(3, 10),
    "held_out": lambda agent: agent.held_out_states(10),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_does_not_depend_on_what_was_played_before(phase: str) -> None:
    alone = play_catch(PHASES[phase])
    earlier: list[Play] = [*PHASES.values(), lambda agent: agent.train(2, 60)]
    for before in earlier:
        assert play_catch(PHASES[phase], before=before) == alone


def test_games_get_a_seed_of_their_own_in_every_phase() -> None:
    environment = ScriptedGames([[9]])
    for random_seed in (0, 1, 2**32 - 1):
        agent = make_parts(environment, random_seed=random_seed).agent
        for epoch in (0, 1):
            for play in (agent.train, agent.test, agent.refill):
                play(epoch, 1)
        agent.play_random(1)
        agent.held_out_states(1)
    assert len(set(environment.seeds)) == len(environment.seeds) == 24


def test_each_game_may_explore_at_a_rate_of_its_own() -> None:
    """Rates 0, 0.5 and 1 after the decay; callbacks hear the mean."""
    exploration = LinearSchedule(1.0, np.array([0.0, 0.5, 1.0]), 30)
    np.testing.assert_allclose(exploration(15), [0.5, 0.75, 1.0])
    parts = make_parts(
        ScriptedGames([[250]] * 3),
        values=lambda states: np.tile(np.float32([0, 0, 1, 0]), (len(states), 1)),
        rate=exploration,
    )
    parts.agent.total_train_steps = 30
    parts.agent.train(1, 3 * 240)
    assert parts.recorder.rates == [pytest.approx(0.5)] * 240
    greedy = [
        float((parts.memory.actions[game, : parts.memory.count] == 2).mean()) for game in range(3)
    ]
    # A quarter of the random actions are the best one; the memory's 133 steps of each game leave
    # a standard error of at most 0.05.
    assert greedy == [1.0, pytest.approx(0.625, abs=0.2), pytest.approx(0.25, abs=0.2)]
