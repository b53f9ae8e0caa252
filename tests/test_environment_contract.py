"""What every environment must hold: one case for each, the same tests for all.

A new environment gets a line in CASES. An environment of one's own, which `--environment
module:Class` loads, is tested by

    ENVIRONMENT=module:Class python -m pytest tests/test_environment_contract.py -k own
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from catch import Catch, VectorCatch
from helpers import Recording, play, record

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.atari import NO_LIMIT, ALEEnvironment
from simple_dqn.environments.console import ConsoleEnvironment
from simple_dqn.environments.gym import GymEnvironment
from simple_dqn.environments.roms import Game
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import make_environment

ROMS = Path(ale_py.__file__).parent / "roms"


class Corridor(gymnasium.Env[npt.NDArray[np.uint8], int]):
    """A walker on ten cells: the left end pays -1, the right end 2; TimeLimit cuts long walks."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (gymnasium's way)
    action_space = gymnasium.spaces.Discrete(3)
    observation_space: gymnasium.Space[Any] = gymnasium.spaces.Box(0, 255, (20, 30, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._cell = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._cell = int(self.np_random.integers(1, 9))
        return self.see(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._cell += (0, -1, 1)[action]
        reward = {0: -1.0, 9: 2.0}.get(self._cell, 0.0)
        return self.see(), reward, reward != 0, False, {}

    def see(self) -> Any:
        return self.render()

    def render(self) -> Any:
        picture = np.zeros((20, 30, 3), np.uint8)
        picture[:, 3 * self._cell : 3 * self._cell + 3] = (250, 150, 60)
        return picture


class NumberedCorridor(Corridor):
    """The same seen as a number, from which a network can learn; or a screen is rendered."""

    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)

    def see(self) -> Any:
        return np.array([self._cell], np.float32)


class PlainNumberedCorridor(NumberedCorridor):
    """The same without anything to render."""

    def render(self) -> Any:
        raise AssertionError("nobody needs a picture")


class DiscreteCorridor(Corridor):
    """The same seen as one of ten, counted from 5; its actions are counted from 7."""

    action_space = gymnasium.spaces.Discrete(3, start=7)
    observation_space = gymnasium.spaces.Discrete(10, start=5)

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(action - 7)

    def see(self) -> Any:
        return self._cell + 5


for corridor in (Corridor, NumberedCorridor, PlainNumberedCorridor, DiscreteCorridor):
    gymnasium.register(f"{corridor.__name__}-v0", entry_point=corridor, max_episode_steps=12)


def make_ale(
    game: str, num_games: int, max_frames: int = NO_LIMIT, *, console: bool = False
) -> Environment:
    settings: dict[str, Any] = {
        "rom_path": ROMS / f"{game}.bin",
        "num_games": num_games,
        "screen_shape": (84, 84),
        "frame_skip": 4,
        "repeat_action_probability": 0.1,
        "minimal_action_set": True,
        "random_starts": 30,
        "lost_life_is_terminal": True,
        "max_frames": max_frames,
    }
    if console:
        return ConsoleEnvironment(**settings, color_averaging=True)
    return ALEEnvironment(**settings, num_threads=2)


def make_gym(name: str, num_games: int, screen_shape: tuple[int, int] = (20, 40)) -> Environment:
    return GymEnvironment(
        environment_id=f"{name}-v0",
        num_games=num_games,
        screen_shape=screen_shape,
        rendered=name == "NumberedCorridor",
    )


class Case(NamedTuple):
    """An environment to test."""

    make: Callable[[], Environment]
    num_games: int
    # What random play must meet, and nothing else: `end` of a game, `cut`, lost `life`; None: any.
    ends: set[str] | None
    steps: int  # of random play


CASES = {
    "ale_pong_1": Case(lambda: make_ale("pong", 1, 160), 1, {"cut"}, 100),
    "ale_breakout_3": Case(lambda: make_ale("breakout", 3), 3, {"end", "life"}, 300),
    "console_pong_1": Case(lambda: make_ale("pong", 1, 160, console=True), 1, {"cut"}, 100),
    "console_breakout_2": Case(
        lambda: make_ale("breakout", 2, console=True), 2, {"end", "life"}, 300
    ),
    "gym_1": Case(lambda: make_gym("Corridor", 1), 1, {"end", "cut"}, 200),
    "gym_3": Case(lambda: make_gym("Corridor", 3), 3, {"end", "cut"}, 200),
    "gym_rendered_3": Case(lambda: make_gym("NumberedCorridor", 3), 3, {"end", "cut"}, 200),
    "gym_numbers_3": Case(lambda: make_gym("PlainNumberedCorridor", 3), 3, {"end", "cut"}, 200),
    "gym_one_hot_3": Case(lambda: make_gym("DiscreteCorridor", 3), 3, {"end", "cut"}, 200),
    "catch_1": Case(lambda: Catch(num_games=1), 1, {"end"}, 50),
    "catch_3": Case(lambda: Catch(num_games=3), 3, {"end"}, 50),
    "vector_catch_1": Case(lambda: VectorCatch(num_games=1), 1, {"end"}, 50),
    "vector_catch_3": Case(lambda: VectorCatch(num_games=3), 3, {"end"}, 50),
}


def make_own(num_games: int) -> Environment:
    settings = Settings(game="game", environment=os.environ["ENVIRONMENT"], num_games=num_games)
    return make_environment(settings, Game("game", Path(), ""), 1, training=True)


if "ENVIRONMENT" in os.environ:
    CASES |= {
        "own_1": Case(lambda: make_own(1), 1, None, 500),
        "own_3": Case(lambda: make_own(3), 3, None, 500),
    }
SEVERAL_GAMES = [name for name, case in CASES.items() if case.num_games > 1]
SEED = 1
SHORT = 60  # steps; enough where no game needs to end


def same(left: Recording, right: Recording, game: int | None = None) -> bool:
    """Whether two recordings are equal as far as the shorter goes, in one game or in all."""
    games = slice(None) if game is None else game
    return all(
        np.array_equal(a[:length, games], b[:length, games])
        for a, b in zip(left, right, strict=True)
        for length in [min(len(a), len(b))]
    )


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def environment(case: Case) -> Iterator[Environment]:
    environment = case.make()
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def actions(case: Case, environment: Environment) -> npt.NDArray[np.int64]:
    """Random actions (steps, num_games)."""
    rng = np.random.default_rng(1)
    return rng.integers(environment.num_actions, size=(case.steps, case.num_games))


@pytest.fixture(scope="module")
def played(case: Case, actions: npt.NDArray[np.int64]) -> Recording:
    """Those actions played with SEED in an environment of its own."""
    environment = case.make()
    recording = play(environment, actions, SEED)
    environment.close()
    return recording


def test_attributes_shapes_and_types_hold_under_every_legal_action(
    case: Case, environment: Environment
) -> None:
    assert environment.num_games == case.num_games
    assert environment.num_actions == len(set(environment.action_meanings)) >= 2
    assert all(isinstance(meaning, str) for meaning in environment.action_meanings)
    assert {type(size) for size in environment.observation_shape} == {int}
    shape = (case.num_games, *environment.observation_shape)
    dtype = environment.observation_dtype
    first = environment.restart(SEED)
    assert (first.shape, first.dtype) == (shape, dtype)
    for step in range(environment.num_actions):
        environment.act((step + np.arange(case.num_games)) % environment.num_actions)
        time_step = environment.observe()
        assert isinstance(time_step, TimeStep)
        assert [array.shape for array in time_step] == [shape] + 3 * [(case.num_games,)]
        assert [array.dtype for array in time_step] == [dtype, np.float32, np.bool_, np.bool_]


def test_observations_show_something_that_changes(played: Recording) -> None:
    assert played.observations[0].std() > 0.1
    assert (played.observations != played.observations[0]).any()


def test_a_restart_in_mid_game_with_the_same_seed_brings_the_same_games(
    environment: Environment, actions: npt.NDArray[np.int64], played: Recording
) -> None:
    play(environment, actions[:7], 0)
    assert same(play(environment, actions, SEED), played)


def test_another_seed_brings_other_games(
    environment: Environment, actions: npt.NDArray[np.int64], played: Recording
) -> None:
    assert not same(play(environment, actions[:SHORT], 2**32 - 1), played)


def test_what_was_received_stays_and_the_caller_may_overwrite_it_and_what_it_gave(
    environment: Environment, actions: npt.NDArray[np.int64], played: Recording
) -> None:
    first, received = environment.restart(SEED), []
    for step in actions[:SHORT]:
        given = step.copy()
        environment.act(given)
        given[:] = (step + 1) % environment.num_actions
        received.append(environment.observe())
    assert same(record(first.copy(), received), played)
    observations, steps = environment.restart(SEED), []
    observations.fill(99)
    for step in actions[:SHORT]:
        environment.act(step)
        time_step = environment.observe()
        steps.append(TimeStep(*(array.copy() for array in time_step)))
        for array in time_step:
            array.fill(1)
    assert same(record(first, steps), played)


def test_games_end_for_the_reasons_they_should(case: Case, played: Recording) -> None:
    terminals, game_overs = played.terminals, played.game_overs
    met = {
        "end": bool((terminals & game_overs).any()),
        "cut": bool((~terminals & game_overs).any()),
        "life": bool((terminals & ~game_overs).any()),
    }
    assert case.ends is None or {end for end in met if met[end]} == case.ends
    assert game_overs.any(axis=0).all(), "each game ends and starts again by itself"


@pytest.mark.parametrize("case", SEVERAL_GAMES, indirect=True)
def test_a_game_is_not_touched_by_the_actions_in_the_others(
    case: Case, environment: Environment, actions: npt.NDArray[np.int64], played: Recording
) -> None:
    last_ends = case.steps - played.game_overs[::-1].argmax(axis=0)
    own = int(last_ends.argmax())  # what other games' ends might change, it shows
    assert last_ends.min() < last_ends[own]
    others_act_otherwise = np.zeros_like(actions)
    others_act_otherwise[:, own] = actions[:, own]
    recording = play(environment, others_act_otherwise, SEED)
    assert same(recording, played, game=own)
    assert not any(
        same(recording, played, game=game) for game in range(case.num_games) if game != own
    )
    recording = play(environment, np.ones((SHORT, case.num_games), np.int64), SEED)
    assert (recording.observations[:, 0] != recording.observations[:, -1]).any(), "copies differ"
