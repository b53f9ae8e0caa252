"""Atari games: every byte against a slow twin that plays frame by frame and computes in NumPy."""

from pathlib import Path
from typing import Any

import ale_py
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers import Recording, play, record

from simple_dqn.environment import TimeStep
from simple_dqn.environments.atari import NO_LIMIT, ALEEnvironment
from simple_dqn.environments.console import ConsoleEnvironment

ROMS = Path(ale_py.__file__).parent / "roms"
SETTINGS: dict[str, Any] = {
    "num_games": 1,
    "screen_shape": (84, 84),
    "frame_skip": 4,
    "repeat_action_probability": 0.0,
    "minimal_action_set": True,
    "random_starts": 0,
    "lost_life_is_terminal": True,
    "max_frames": NO_LIMIT,
}
# Breakout's actions
NOOP, FIRE, RIGHT, LEFT = range(4)


def make_ale(game: str, *, num_threads: int = 1, **settings: Any) -> ALEEnvironment:
    return ALEEnvironment(
        rom_path=ROMS / f"{game}.bin", num_threads=num_threads, **SETTINGS | settings
    )


def make_console(
    game: str, *, color_averaging: bool = False, **settings: Any
) -> ConsoleEnvironment:
    return ConsoleEnvironment(
        rom_path=ROMS / f"{game}.bin", color_averaging=color_averaging, **SETTINGS | settings
    )


class SlowGame:
    """One game, frame by frame: the preprocessing of Mnih et al. 2015 as ALE's engine does it.

    luminance of the last two frames  ->  their maximum  ->  resized by area
    """

    def __init__(
        self,
        game: str,
        *,
        emulator_seed: int = 0,
        repeat_action_probability: float = 0.0,
        screen_shape: tuple[int, int] = (84, 84),
        frame_skip: int = 4,
    ) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", emulator_seed)
        self.ale.setInt("frame_skip", 1)
        self.ale.setFloat("repeat_action_probability", repeat_action_probability)
        self.ale.loadROM(ROMS / f"{game}.bin")
        self.actions = self.ale.getMinimalActionSet()
        self.screen_shape = screen_shape
        self.frame_skip = frame_skip

    def start(self, noops: int = 0) -> npt.NDArray[np.uint8]:
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(ale_py.Action.NOOP)
        return self.resized(self.luminance())

    def step(self, action: int) -> TimeStep:
        """Play a step of a training game; at its end start the next one."""
        lives, reward, pictures = self.ale.lives(), 0, []
        for frame in range(self.frame_skip):
            reward += self.ale.act(self.actions[action])
            if frame >= self.frame_skip - 2:
                pictures.append(self.luminance())
            if self.ale.game_over():
                break
        over = self.ale.game_over()
        terminal = over or self.ale.lives() < lives
        screen = self.start() if over else self.resized(np.maximum.reduce(pictures))
        rewards = np.array([reward], np.float32)
        return TimeStep(screen[None], rewards, np.array([terminal]), np.array([over]))

    def luminance(self) -> npt.NDArray[np.uint8]:
        red, green, blue = np.moveaxis(self.ale.getScreenRGB(), -1, 0)
        weighted = 0.2989 * red + 0.5870 * green + 0.1140 * blue
        luminance: npt.NDArray[np.uint8] = np.rint(weighted).astype(np.uint8)
        return luminance

    def resized(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        height, width = self.screen_shape
        screen = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(screen, np.uint8)


def play_slowly(game: SlowGame, actions: npt.NDArray[np.int64]) -> Recording:
    """Play with actions (steps, 1)."""
    return record(game.start()[None], [game.step(int(action)) for (action,) in actions])


def assert_equal(left: Recording, right: Recording) -> None:
    for name, a, b in zip(Recording._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def random_actions(num_actions: int, steps: int, num_games: int = 1) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(num_actions, size=(steps, num_games))


@pytest.fixture(scope="module", params=["pong", "breakout", "space_invaders"])
def game(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# The engine against the twin.


def test_complete_games_are_the_slow_twins_byte_for_byte(game: str) -> None:
    """Screens at lost lives and ends, rewards that are raw and summed over frames, terminals."""
    steps, num_games, num_lives = {
        "pong": (1100, 1, 1),
        "breakout": (650, 3, 5),
        "space_invaders": (600, 1, 3),
    }[game]
    environment = make_ale(game)
    actions = random_actions(environment.num_actions, steps)
    fast, slow = play(environment, actions), play_slowly(SlowGame(game), actions)
    assert_equal(fast, slow)
    ends = np.flatnonzero(slow.game_overs)
    assert len(ends) >= num_games
    assert ends[-1] < steps - 10, "the next game was played for some steps"
    first = SlowGame(game).start()
    for step in ends:
        np.testing.assert_array_equal(fast.observations[step + 1, 0], first)
    assert fast.terminals[: ends[0] + 1].sum() == num_lives
    if game == "pong":
        assert fast.rewards.min() == -1
    else:
        assert fast.rewards.max() >= {"breakout": 1, "space_invaders": 10}[game], "not clipped"


@pytest.mark.parametrize(
    ("frame_skip", "screen_shape"),
    [(1, (84, 84)), (3, (84, 84)), (4, (36, 36)), (4, (60, 100)), (3, (210, 160)), (1, (250, 200))],
)
def test_frame_skip_and_screen_shape(frame_skip: int, screen_shape: tuple[int, int]) -> None:
    actions = random_actions(18, 60)
    settings: dict[str, Any] = {"frame_skip": frame_skip, "screen_shape": screen_shape}
    slow = play_slowly(SlowGame("seaquest", **settings), actions)
    assert slow.observations.shape == (61, 1, *screen_shape)
    assert len(np.unique(slow.observations, axis=0)) > 10
    for make in (make_ale, make_console):
        assert_equal(play(make("seaquest", **settings), actions), slow)


def test_repeat_action_probability_follows_the_seed() -> None:
    actions = random_actions(18, 100)
    environment = make_ale("seaquest", repeat_action_probability=0.25)
    recording = play(environment, actions, seed=3)
    emulator_seed = int(np.random.SeedSequence(3).generate_state(1)[0] >> 1)
    slow = SlowGame("seaquest", emulator_seed=emulator_seed, repeat_action_probability=0.25)
    assert_equal(recording, play_slowly(slow, actions))
    assert_equal(recording, play(environment, actions, seed=3))
    for other in (play(environment, actions, seed=4), play(make_ale("seaquest"), actions, seed=3)):
        assert (recording.observations != other.observations).any()


# Lives, starts and cuts.


def test_a_lost_life_is_a_terminal_in_training_only_and_the_game_continues() -> None:
    actions = random_actions(4, 650)
    training = play(make_ale("breakout"), actions)
    test = play(make_ale("breakout", lost_life_is_terminal=False), actions)
    assert training.terminals.sum() > training.game_overs.sum() > 0
    assert_equal(test, training._replace(terminals=training.game_overs))


def test_fire_is_not_pressed_at_a_games_start() -> None:
    environment = make_ale("breakout", random_starts=30, max_frames=400)
    idle = play(environment, np.full((120, 1), NOOP))  # a game starts at step 100
    assert idle.game_overs.sum() == 1
    assert (idle.observations == idle.observations[0]).all(), "no ball is on its way"
    fired = play(environment, np.array([[FIRE], *[[NOOP]] * 50]))
    assert (fired.observations[20:] != fired.observations[0]).any()


@pytest.mark.parametrize("make", [make_ale, make_console])
@pytest.mark.parametrize("random_starts", [0, 10])
def test_a_game_starts_with_0_to_random_starts_idle_frames(make: Any, random_starts: int) -> None:
    """In Star Gunner no two of the first screens are the same, so each shows its frames.

    Games are cut after their first step; each step brings another first screen.
    """
    slow = SlowGame("star_gunner")
    frames = {slow.start(noops).tobytes(): noops for noops in range(random_starts + 10)}
    assert len(frames) == random_starts + 10
    environment = make("star_gunner", random_starts=random_starts, max_frames=4)
    recording = play(environment, np.zeros((99, 1), np.int64))
    assert recording.game_overs.all()
    drawn = [frames[screen.tobytes()] for screen in recording.observations]
    counts = np.bincount(drawn)
    assert len(counts) == random_starts + 1, "up to random_starts, no further"
    expected = len(drawn) / (random_starts + 1)
    assert counts.min() > expected / 4, "all as probable as each other"
    assert counts.max() < expected * 2.5


@pytest.mark.parametrize("make", [make_ale, make_console])
@pytest.mark.parametrize(("max_frames", "frame_skip", "steps"), [(12, 4, 3), (13, 4, 4), (5, 1, 5)])
def test_max_frames_cuts_a_game_without_a_terminal(
    make: Any, max_frames: int, frame_skip: int, steps: int
) -> None:
    """Idle frames at the start do not count."""
    environment = make("breakout", max_frames=max_frames, frame_skip=frame_skip, random_starts=30)
    recording = play(environment, np.full((5 * steps, 1), FIRE))
    assert np.flatnonzero(recording.game_overs).tolist() == [
        steps * (game + 1) - 1 for game in range(5)
    ]
    assert not recording.terminals.any()


def test_a_cut_game_plays_no_frame_more() -> None:
    """Cut in the second frame of a step: a point in its third frame is not won."""
    game = SlowGame("pong", frame_skip=1)
    game.start()
    point = 1
    while game.step(NOOP).rewards == 0:
        point += 1  # the frame that brings the first point, counted from 1
    for make in (make_ale, make_console):
        for max_frames, won in ((point - 1, 0), (point, -1)):
            environment = make("pong", frame_skip=point + 1, max_frames=max_frames)
            recording = play(environment, np.array([[NOOP]]))
            assert recording.game_overs == [[True]]
            assert recording.rewards == [[won]]


# Actions, copies, ROMs.


@pytest.mark.parametrize("make", [make_ale, make_console])
def test_action_sets(make: Any) -> None:
    pong, all_actions = make("pong"), make("pong", minimal_action_set=False)
    assert make("breakout").action_meanings == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert (pong.num_actions, all_actions.num_actions) == (6, 18)
    assert all_actions.action_meanings[0] == pong.action_meanings[0] == "NOOP"
    assert set(pong.action_meanings) < set(all_actions.action_meanings)


def test_the_number_of_threads_changes_nothing() -> None:
    settings = {"num_games": 3, "repeat_action_probability": 0.25, "random_starts": 30}
    actions = random_actions(4, 50, num_games=3)
    one, two = (
        play(make_ale("breakout", num_threads=threads, max_frames=150, **settings), actions)
        for threads in (1, 2)
    )
    assert one.game_overs.any()
    assert_equal(one, two)


# What people watch is what the network was trained on.


def test_the_console_shows_what_training_saw(game: str) -> None:
    num_games = 2 if game == "breakout" else 1
    settings = {"num_games": num_games, "repeat_action_probability": 0.25, "max_frames": 302}
    ale, console = make_ale(game, **settings), make_console(game, **settings)
    actions = random_actions(ale.num_actions, 120, num_games)
    recording = play(console, actions, seed=5)
    assert recording.game_overs.any()
    assert_equal(recording, play(ale, actions, seed=5))


def test_averaging_colours_replaces_the_maximum_and_changes_what_moves() -> None:
    """A pixel that stays keeps its luminance, one that changes gets one between old and new.

    Frame by frame and not resized, so that pixels can be compared.
    """
    settings: dict[str, Any] = {"frame_skip": 1, "screen_shape": (210, 160)}
    actions = np.repeat(random_actions(6, 100), 4, axis=0)
    plain = play(make_console("space_invaders", **settings), actions)
    averaged = play(make_console("space_invaders", color_averaging=True, **settings), actions)
    old, new, mixed = plain.observations[:-1], plain.observations[1:], averaged.observations[1:]
    stays = old == new
    np.testing.assert_array_equal(mixed[stays], new[stays])
    assert (mixed[~stays] != new[~stays]).mean() > 0.5
    assert (mixed >= np.minimum(old, new)).all()
    assert (mixed <= np.maximum(old, new)).all()
    assert_equal(plain, averaged._replace(observations=plain.observations))

    # A screen is the average of the step's last two frames: that of its last frame alone.
    settings["frame_skip"] = 4
    steps = play(make_console("space_invaders", color_averaging=True, **settings), actions[::4])
    np.testing.assert_array_equal(steps.observations, averaged.observations[::4])
    plain = play(make_ale("space_invaders", **settings), actions[::4])
    assert (steps.observations != plain.observations).any()
    np.testing.assert_array_equal(steps.rewards, plain.rewards)
