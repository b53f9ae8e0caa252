"""A game as a person sees it shows the network what it was trained on, byte for byte."""

from pathlib import Path
from typing import Any

import ale_py
import numpy as np
import numpy.typing as npt
import pytest
from helpers import make_settings

from simple_dqn.environments.console import Console
from simple_dqn.environments.roms import find_game
from simple_dqn.run.environments import make_environment
from simple_dqn.state_buffer import StateBuffer
from simple_dqn.watch.watched_game import Step, WatchedGame

ROMS = Path(ale_py.__file__).parent / "roms"


class Script:
    """A network whose best action is the next of a list; it remembers what it was shown."""

    def __init__(self, actions: npt.NDArray[np.int64], num_actions: int) -> None:
        self.values = np.eye(num_actions, dtype=np.float32)[actions]
        self.shown: list[npt.NDArray[np.uint8]] = []

    def predict(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.shown.append(states[0].copy())
        return self.values[len(self.shown) - 1][None]


def make_console(
    game: str, *, color_averaging: bool = False, screen_shape: tuple[int, int] = (84, 84)
) -> Console:
    return Console(
        rom_path=ROMS / f"{game}.bin",
        screen_shape=screen_shape,
        repeat_action_probability=0.0,
        minimal_action_set=True,
        color_averaging=color_averaging,
        seed=1,
        sound=True,
    )


def make_game(console: Console, network: Any = None, **options: Any) -> WatchedGame:
    usual = {"history_length": 4, "frame_skip": 4, "exploration_rate": 0.0, "random_starts": 0}
    rest = {"max_frames": None, "random_seed": 3}
    return WatchedGame(console, network, **usual | rest | options)


def next_step(game: WatchedGame, action: int = 0) -> Step:
    while (step := game.frame(action).step) is None:
        pass
    return step


@pytest.mark.parametrize(
    ("name", "color_averaging", "frame_skip"),
    [("pong", False, 4), ("breakout", False, 4), ("breakout", True, 4), ("seaquest", False, 1)],
)
def test_the_network_sees_what_it_sees_in_training(
    name: str, color_averaging: bool, frame_skip: int
) -> None:
    """Step by step: screens, rewards and ends of games; lost lives are terminal."""
    options = {"color_averaging": color_averaging, "frame_skip": frame_skip, "random_starts": 0}
    environment = make_environment(
        make_settings(**options), find_game(name, Path("roms")), 1, training=True
    )
    console = make_console(name, color_averaging=color_averaging)
    num_actions = environment.num_actions
    number = 1_000 if name == "breakout" else 300  # some games of Breakout
    actions = np.random.default_rng(0).integers(num_actions, size=number)
    network = Script(actions, num_actions)
    game = make_game(console, network, frame_skip=frame_skip)
    assert game.action_meanings == list(environment.action_meanings)
    sizes = {"num_games": 1, "history_length": 4, "observation_shape": (84, 84)}
    buffer = StateBuffer(observation_dtype=np.uint8, **sizes)
    buffer.add(environment.restart(1))
    num_games, num_terminals = 0, 0
    for index, action in enumerate(actions):
        environment.act(np.array([action]))
        frame = game.frame(0)
        while frame.step is None:
            frame = game.frame(0)
        np.testing.assert_array_equal(network.shown[index], buffer.states[0])
        np.testing.assert_array_equal(frame.step.screen, buffer.states[0, -1])
        observation = environment.observe()
        assert frame.step.action == action
        assert frame.step.reward == observation.rewards[0]
        assert frame.step.terminal == observation.terminals[0]
        assert frame.game_over == observation.game_overs[0]
        # As in the test phase, a lost life does not blank the history.
        buffer.add(observation.observations, observation.game_overs)
        num_games += frame.game_over
        num_terminals += frame.step.terminal
        if frame.game_over:
            game.start()
    if name == "breakout":
        assert num_games > 2
        assert num_terminals >= 5 * num_games


def test_a_person_takes_over_and_gives_back() -> None:
    """The player changes at the next step; the network's state continues without a gap."""
    console = make_console("pong")
    network = Script(np.full(50, 2), 6)
    game = make_game(console, network)
    steps = [next_step(game) for _ in range(5)]
    game.frame(3)
    game.person_plays = True
    steps.append(next_step(game, 3))  # the network's step is finished first
    assert [step.by_person for step in steps] == [False] * 6
    assert {step.action for step in steps} == {2}
    theirs = [next_step(game, 3) for _ in range(5)]
    assert [(step.by_person, step.action) for step in theirs] == [(True, 3)] * 5
    before = len(network.shown)
    game.person_plays = False
    step = next_step(game, 3)
    assert (step.by_person, step.action) == (False, 2)
    screens = [step.screen for step in (*theirs[-3:], step)]
    np.testing.assert_array_equal(network.shown[before], screens)


def test_a_persons_action_is_heard_every_frame_and_kept_by_majority() -> None:
    """Right for three of four frames moves the paddle less than for four."""
    pictures = []
    for last in (2, 0):
        game = make_game(make_console("pong"))
        for _ in range(40):
            for action in (2, 2, 2, last):
                frame = game.frame(action)
            assert frame.step is not None
            assert frame.step.action == 2
            assert frame.step.by_person
            pictures.append(frame.picture)
    assert (np.stack(pictures[:40]) != np.stack(pictures[40:])).any()


def test_games_begin_and_end() -> None:
    """Cut off after max_frames, in the middle of a step too; the first step says so.

    Idle frames at the start differ from game to game.
    """
    console, idle = make_console("pong"), set()
    game = make_game(console, max_frames=10, random_starts=30)
    for _ in range(9):
        idle.add(console.ale.getEpisodeFrameNumber())
        frames = list(game.frames())
        assert len(frames) == 10
        steps = [frame.step for frame in frames if frame.step is not None]
        assert [step.first for step in steps] == [True, False, False]
        assert not any(step.terminal for step in steps)
        assert [frame.game_over for frame in frames] == [False] * 9 + [True]
        game.start()
        assert (game.state[:3] == 0).all()
        assert game.score == 0
    assert len(idle) > 3
    assert max(idle) <= 30


@pytest.mark.parametrize("name", ["breakout", "seaquest"])
def test_a_game_goes_back_to_a_moment(name: str) -> None:
    """Screens, states, scores and lives are the same again, at each of several returns."""
    console = make_console(name)
    game = make_game(console)
    actions = np.random.default_rng(0).integers(len(console.actions), size=700)

    def play_on() -> list[Any]:
        seen: list[Any] = []
        for action in actions[300:]:
            frame = game.frame(int(action))
            numbers = (game.score, console.lives, console.frames, frame.game_over)
            seen.append((frame.picture.tobytes(), game.state.tobytes(), *numbers))
        return seen

    for action in actions[:300]:
        game.frame(int(action))
    moment = game.keep()
    assert moment is not None
    state = game.state.copy()
    first = play_on()
    for _ in range(2):
        game.go_back(moment)
        np.testing.assert_array_equal(game.state, state)
        assert play_on() == first
