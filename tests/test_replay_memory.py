"""ReplayMemory against a slow twin: lists of episodes, the step number painted in the screens."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from helpers import make_memory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simple_dqn.errors import UserError
from simple_dqn.memory.prioritized import PrioritizedReplayMemory
from simple_dqn.replay_memory import Minibatch, ReplayMemory

SCREEN_SHAPE = (1, 3)
BLANK = (0, 0, 0)
Screen = tuple[int, ...]

# What each game does at a step: continues, loses a life, ends, or is cut short by a time limit.
ENDS = {"on": (False, False), "life": (True, False), "end": (True, True), "limit": (False, True)}


class Transition(NamedTuple):
    prestate: list[Screen]
    action: int
    returned: float  # discounted rewards up to the end; later ones belong to another game
    discount: float
    poststate: list[Screen]


class Step(NamedTuple):
    number: int
    terminal: bool


class Episode(NamedTuple):
    """Steps that follow on each other; nothing may reach beyond either end."""

    steps: list[Step]
    cut: list[bool]  # one entry once the episode was cut: its last step is an observation alone


def paint(game: int, number: int) -> Screen:
    return (game + 1, number // 256, number % 256)


def action_of(game: int, number: int) -> int:
    return (7 * number + game) % 18


def reward_of(game: int, number: int) -> float:
    return number - 100.5 * game


class Twin:
    """What the memory should hold, without saving memory: every step since the beginning."""

    def __init__(
        self, lane_size: int, num_games: int, history_length: int, n_step: int = 1
    ) -> None:
        self.lane_size, self.num_games, self.history_length = lane_size, num_games, history_length
        self.n_step = n_step
        self.total = 0  # steps of each game
        self.episodes = [[Episode([], [])] for _ in range(num_games)]

    def add(self, kinds: list[str]) -> None:
        for episodes, kind in zip(self.episodes, kinds, strict=True):
            episodes[-1].steps.append(Step(self.total, ENDS[kind][0]))
            if kind == "limit":
                episodes[-1].cut.append(True)
            if kind != "on":
                episodes.append(Episode([], []))
        self.total += 1

    def cut(self) -> None:
        for episodes in self.episodes:
            if episodes[-1].steps:
                episodes[-1].cut.append(True)
                episodes.append(Episode([], []))

    def old_and_new_enough(self, number: int) -> bool:
        """Whether the successor of a step is known and no screen of its state overwritten."""
        oldest = max(0, self.total - self.lane_size)
        if self.total >= self.lane_size:
            oldest += self.history_length - 1
        return oldest <= number < self.total - self.n_step

    def num_cuts(self) -> int:
        return sum(
            episode.steps[-1].number >= self.total - self.lane_size
            for episodes in self.episodes
            for episode in episodes
            if episode.cut
        )

    def transitions(self) -> dict[tuple[int, int], Transition]:
        """All legal transitions by game and step number."""
        return {
            (game, step.number): self.transition(game, episode, index)
            for game, episodes in enumerate(self.episodes)
            for episode in episodes
            for index, step in enumerate(episode.steps)
            if self.old_and_new_enough(step.number)
            and not (episode.cut and index + 1 == len(episode.steps))
        }

    def transition(self, game: int, episode: Episode, index: int) -> Transition:
        steps = episode.steps
        history = [BLANK] * self.history_length
        history += [paint(game, step.number) for step in steps[: index + 1]]
        prestate = history[-self.history_length :]
        returned, discount = 0.0, 1.0
        for step in steps[index : len(steps) - len(episode.cut)][: self.n_step]:
            returned += discount * reward_of(game, step.number)
            discount *= 0.0 if step.terminal else 0.5
        following = [paint(game, step.number) for step in steps[index + 1 :][: self.n_step]]
        if not episode.cut:
            following += [BLANK] * (self.n_step - len(following))
        return Transition(
            prestate,
            action_of(game, steps[index].number),
            returned,
            discount,
            [*prestate, *following][-self.history_length :],
        )


def add(memory: ReplayMemory, number: int, kinds: list[str]) -> None:
    """Add step `number` of every game."""
    games = range(len(kinds))
    memory.add(
        np.array([[paint(game, number)] for game in games], np.uint8),
        np.array([action_of(game, number) for game in games]),
        np.array([reward_of(game, number) for game in games], np.float32),
        np.array([ENDS[kind][0] for kind in kinds]),
        np.array([ENDS[kind][1] for kind in kinds]),
    )


class Pair(NamedTuple):
    """A memory and its twin."""

    memory: ReplayMemory
    twin: Twin

    def do(self, kinds: list[str] | None) -> None:
        """Make a step of such ends; None: cut."""
        if kinds is None:
            self.memory.cut()
            self.twin.cut()
        else:
            add(self.memory, self.twin.total, kinds)
            self.twin.add(kinds)


def make_pair(
    lane_size: int, num_games: int = 1, history_length: int = 4, n_step: int = 1, **changes: Any
) -> Pair:
    sizes = {"lane_size": lane_size, "num_games": num_games, "history_length": history_length}
    memory = make_memory(**sizes, n_step=n_step, **changes)
    return Pair(memory, Twin(**sizes, n_step=n_step))


def screens_of(state: npt.NDArray[np.uint8]) -> list[Screen]:
    return [tuple(screen.ravel().tolist()) for screen in state]


def read(minibatch: Minibatch) -> list[tuple[tuple[int, int], Transition]]:
    """Game, step number and transition of each row."""
    rows = []
    for prestate, action, returned, discount, poststate in zip(*minibatch[:5], strict=True):
        screens, following = screens_of(prestate), screens_of(poststate)
        transition = Transition(screens, int(action), float(returned), float(discount), following)
        game, high, low = screens[-1]
        rows.append(((game - 1, 256 * high + low), transition))
    return rows


def check(pair: Pair, draws_per_transition: int = 20) -> None:
    """Draw until a legal transition is missed once in about e**20 times; all must be right."""
    memory, twin = pair
    legal = twin.transitions()
    candidates = sum(twin.old_and_new_enough(number) for number in range(twin.total))
    assert len(memory) == min(twin.total, twin.lane_size) * twin.num_games
    # Documented as surely legal: cuts are subtracted wherever they stand.
    assert memory.can_sample() == (candidates * twin.num_games > twin.num_cuts())
    if not memory.can_sample():
        return
    assert legal
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(draws_per_transition):
        for key, transition in read(memory.get_minibatch(rng, 0)):
            assert key in legal
            assert transition == legal[key]
            seen.add(key)
    assert seen == legal.keys()


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, int, int, list[list[str] | None]]:
    """Lane size, games, history length, n_step and operations: a step's ends, or None: cut()."""
    num_games = draw(st.integers(1, 4))
    history_length = draw(st.integers(1, 5))
    n_step = draw(st.sampled_from([1, 1, 2, 3, 7]))
    lane_size = draw(st.integers(history_length + n_step, history_length + n_step + 8))
    kind = st.sampled_from(["on", "on", "on", "on", "life", "end", "limit"])
    step = st.lists(kind, min_size=num_games, max_size=num_games)
    operations = draw(st.lists(step | step | step | st.none(), max_size=3 * lane_size))
    return lane_size, num_games, history_length, n_step, operations


@settings(max_examples=150, deadline=None)
@given(histories())
@example((5, 1, 4, 1, [["on"]] * 5))  # just full
@example((5, 3, 4, 1, [["on"] * 3] * 12))  # the smallest: one legal transition of each game
@example((6, 1, 1, 1, [None, ["on"], ["on"], None, None, ["on"], ["on"]]))  # cut twice
@example((5, 1, 4, 1, [["on"]] * 6))  # the first step overwritten
@example((5, 2, 4, 1, [["limit", "limit"]] * 12))  # nothing legal
@example((2, 1, 1, 1, [["on"], None, ["on"], ["on"]]))  # a cut overwritten
@example((7, 1, 4, 3, [["on"]] * 9))  # the newest three have no successor
@example((9, 1, 1, 3, [["on"], ["life"], ["on"], None, ["on"], ["on"]]))  # a cut after an end
@example((9, 1, 1, 3, [["on"], ["limit"], ["life"], ["on"], ["on"], ["on"]]))  # an end after a cut
def test_memory_agrees_with_its_twin(
    history: tuple[int, int, int, int, list[list[str] | None]],
) -> None:
    *sizes, operations = history
    pair = make_pair(*sizes)
    for operation in operations:
        pair.do(operation)
        assert not pair.memory.can_sample() or pair.twin.transitions()
    check(pair)


@pytest.mark.parametrize("n_step", [1, 3])
def test_memory_agrees_with_its_twin_at_every_step(n_step: int) -> None:
    """Through many wraps; a game's start, a lost life and a cut pass every position."""
    pair = make_pair(7, 2, n_step=n_step)
    for number in range(200):
        if number % 13 == 12:
            pair.do(None)
        first = {3: "end", 6: "life", 8: "limit"}.get(number % 9, "on")
        pair.do([first, "end" if number % 5 == 4 else "on"])
        check(pair)


def test_states_by_hand() -> None:
    """The lost life at step 3 is terminal; the time limit cuts the game at step 5."""
    memory = make_memory(lane_size=10, history_length=3)
    for number, kind in enumerate(["on", "on", "life", "on", "limit", "on", "on"], start=1):
        add(memory, number, [kind])
    rng = np.random.default_rng(0)
    rows = [row for _ in range(30) for row in read(memory.get_minibatch(rng, 0))]
    states = {
        number: [[screen[2] for screen in state] for state in (row.prestate, row.poststate)]
        for (_, number), row in rows
    }
    assert states == {  # step numbers by the first step; 0: blank
        1: [[0, 0, 1], [0, 1, 2]],
        2: [[0, 1, 2], [1, 2, 3]],
        3: [[1, 2, 3], [2, 3, 0]],
        4: [[0, 0, 4], [0, 4, 5]],
        6: [[0, 0, 6], [0, 6, 7]],
    }


def filled() -> Pair:
    """A full memory of three games with every kind of end in it, and its twin."""
    pair = make_pair(20, 3, batch_size=30)
    for number in range(30):
        kinds = zip(("limit", "end", "life"), (3, 7, 5), strict=True)
        pair.do([kind if number % every == 0 else "on" for kind, every in kinds])
    return pair


def test_sampling_is_uniform() -> None:
    """Cut steps are drawn again; that must not favour their neighbours or the other games."""
    memory, twin = filled()
    counts = dict.fromkeys(twin.transitions(), 0)
    assert len(counts) < 3 * 16  # some are cut
    rng = np.random.default_rng(1)
    minibatches = 600
    for _ in range(minibatches):
        for key, _ in read(memory.get_minibatch(rng, 0)):
            counts[key] += 1
    observed = np.array(list(counts.values()))
    expected = minibatches * 30 / len(counts)
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    # Mean and variance of chi-square with k degrees of freedom are k and 2 k; four sigmas.
    freedom = len(counts) - 1
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_the_rng_alone_decides_what_is_drawn() -> None:
    memory, other = filled()[0], filled()[0]
    first = read(memory.get_minibatch(np.random.default_rng(5), 0))
    assert read(memory.get_minibatch(np.random.default_rng(5), 0)) == first
    assert read(other.get_minibatch(np.random.default_rng(5), 0)) == first
    assert read(memory.get_minibatch(np.random.default_rng(6), 0)) != first


def test_shapes_and_types() -> None:
    minibatch = filled()[0].get_minibatch(np.random.default_rng(0), 0)
    state = (30, 4, *SCREEN_SHAPE)
    assert [field.shape for field in minibatch] == [state, *[(30,)] * 3, state, *[(30,)] * 2]
    names = ["uint8", "int64", "float64", "float64", "uint8", "float32", "int64"]
    assert [field.dtype.name for field in minibatch] == names


def test_states_are_views_that_the_next_minibatch_overwrites() -> None:
    """Nothing else does: later steps change no minibatch, the small fields are the receiver's."""
    pair = filled()
    minibatch = pair.memory.get_minibatch(np.random.default_rng(0), 0)
    assert np.shares_memory(minibatch.prestates, minibatch.poststates)
    copies = [field.copy() for field in minibatch[:5]]
    for operation in [["end"] * 3] * 40 + [None]:
        pair.do(operation)
    for field, copy in zip(minibatch[:5], copies, strict=True):
        np.testing.assert_array_equal(field, copy)
    following = pair.memory.get_minibatch(np.random.default_rng(1), 0)
    assert np.shares_memory(minibatch.prestates, following.prestates)
    assert not np.array_equal(minibatch.prestates, copies[0])
    for index in (1, 2, 3):
        np.testing.assert_array_equal(minibatch[index], copies[index])


def test_a_transition_takes_little_more_than_its_screen() -> None:
    memory = make_memory(lane_size=2_500, num_games=4, batch_size=1, observation_shape=(84, 84))
    assert memory.nbytes == 10_000 * (84 * 84 + 6)


def test_too_large_a_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is allocated; the advised size fits."""

    class Free(NamedTuple):
        available: int = 100 * (84 * 84 + 6)

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    make_memory(lane_size=100, batch_size=32, observation_shape=(84, 84))
    for size in (101, 10**12):
        with pytest.raises(UserError, match="--replay_size 90 fits"):
            make_memory(lane_size=size, batch_size=32, observation_shape=(84, 84))


@pytest.mark.parametrize(
    ("lane_size", "num_games", "batch_size"),
    [(4, 1, 1), (4, 3, 1), (0, 1, 1), (0, 3, 1), (31, 1, 32)],
)
def test_too_small_a_memory_is_refused(lane_size: int, num_games: int, batch_size: int) -> None:
    with pytest.raises(UserError, match=f"too small with {lane_size} steps for each of"):
        make_memory(lane_size=lane_size, num_games=num_games, batch_size=batch_size)


def test_rewards_are_clipped_before_they_are_discounted_and_summed() -> None:
    """1 + 0.5 * -0.25 + 0.25 * -1 of the rewards 7, -0.25 and -3; the last step ends the game."""
    memory = make_memory(lane_size=8, history_length=1, n_step=3, min_reward=-1.0, max_reward=1.0)
    for reward, ends in ((7.0, False), (-0.25, False), (-3.0, True), (0.0, False)):
        memory.add(
            np.zeros((1, 1, 3), np.uint8),
            np.array([1]),
            np.array([reward], np.float32),
            np.array([ends]),
            np.array([ends]),
        )
    minibatch = memory.get_minibatch(np.random.default_rng(0), 0)
    assert minibatch.returns.tolist() == [1 - 0.125 - 0.25] * 8
    assert minibatch.discounts.tolist() == [0] * 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_observations_of_any_shape_and_type_are_kept(dtype: npt.DTypeLike) -> None:
    """Vectors as CartPole's, not only screens; what lies before a game's start is zero."""
    memory = make_memory(
        lane_size=99, num_games=2, observation_shape=(2,), observation_dtype=dtype, history_length=2
    )
    vectors = np.array([[[10 * game + step, -step] for game in range(2)] for step in range(4)])
    for step, observations in enumerate(vectors.astype(dtype)):
        ends = np.array([step == 1, False])
        memory.add(observations, np.zeros(2, np.int64), np.zeros(2, np.float32), ends, ends)
    minibatch = memory.get_minibatch(np.random.default_rng(0), 0)
    assert (minibatch.prestates.shape, minibatch.prestates.dtype) == ((198, 2, 2), dtype)
    seen = {tuple(state.ravel().tolist()) for state in minibatch.prestates}
    assert seen == {
        *[(0, 0, 0, 0), (0, 0, 1, -1), (0, 0, 2, -2)],
        *[(0, 0, 10, 0), (10, 0, 11, -1), (11, -1, 12, -2)],
    }


@settings(max_examples=100, deadline=None)
@given(histories())
@example((5, 2, 4, 1, [["on", "on"]] * 12))  # wraps
@example((2, 1, 1, 1, [["on"], None, ["on"], ["on"]]))
def test_by_priority_the_legal_transitions_are_drawn(
    history: tuple[int, int, int, int, list[list[str] | None]],
) -> None:
    """All of them and no others, right to the byte, as the lanes wrap and priorities change."""
    *sizes, operations = history
    pair = make_pair(*sizes, batch_size=1, prioritized=True)
    memory, twin = pair
    assert isinstance(memory, PrioritizedReplayMemory)
    rng = np.random.default_rng(0)
    for operation in operations:
        pair.do(operation)
        legal = twin.transitions()
        for _ in range(3 if operation and memory.can_sample() else 0):
            minibatch = memory.get_minibatch(rng, 0)
            [(key, transition)] = read(minibatch)
            assert transition == legal[key]
            errors = rng.normal(size=1).astype(np.float32)
            memory.update_priorities(minibatch, lambda errors=errors: errors)  # type: ignore[misc]
    lane_size, num_games, *_ = sizes
    drawable = np.flatnonzero(memory._priorities[np.arange(lane_size * num_games)])
    legal = twin.transitions()
    assert set(drawable) == {game * lane_size + step % lane_size for game, step in legal}


def test_priorities_decide_how_often() -> None:
    """Error 3 to error 0.5 at exponent 0.6: 6^0.6 = 2.93 times as often; weights by hand."""
    memory = make_memory(lane_size=60, num_games=2, batch_size=40, prioritized=True)
    for number in range(60):
        add(memory, number, ["on", "on"])
    rng = np.random.default_rng(3)
    first = memory.get_minibatch(rng, 0)
    np.testing.assert_array_equal(first.weights, 1)  # never drawn: all alike
    # NB! The priorities change between minibatches; 200 meet each of 112 transitions for sure.
    for _ in range(200):
        minibatch = memory.get_minibatch(rng, 0)
        steps = np.array([key[1] for key, _ in read(minibatch)])
        errors = np.where(steps % 2, 3.0, -0.5).astype(np.float32)
        memory.update_priorities(minibatch, lambda errors=errors: errors)  # type: ignore[misc]
    often = seldom = 0
    for _ in range(500):
        minibatch = memory.get_minibatch(rng, 0)
        odd = np.array([key[1] % 2 == 1 for key, _ in read(minibatch)])
        often, seldom = often + odd.sum(), seldom + (~odd).sum()
        ratio = (3.001 / 0.501) ** 0.6
        np.testing.assert_allclose(minibatch.weights, np.where(odd, ratio**-0.4, 1), rtol=1e-5)
        assert minibatch.weights.dtype == np.float32
    # 56 even and 56 odd steps' transitions are legal; 20,000 draws: standard error below 0.06.
    assert often / seldom == pytest.approx(ratio, abs=0.2)
