"""What keys do, in a game on the real console; the display only remembers."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import ale_py
import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from test_watched_game import Script, make_console, make_game

from simple_dqn.memory.experience import Step
from simple_dqn.options.commands import KEYS
from simple_dqn.watch.mind import Mind
from simple_dqn.watch.play import Play, ScoreCard
from simple_dqn.watch.steering import action_of
from simple_dqn.watch.watched_game import WatchedGame

PONG = ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
BREAKOUT = ["NOOP", "FIRE", "RIGHT", "LEFT"]


class Clock:
    """Time that passes only where somebody waits, so that no test depends on the machine's."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("simple_dqn.watch.play.time", clock)
    return clock


class Keyboard:
    """A display on which a list of keys is pressed, one list a sixtieth of a second."""

    has_sound = True

    def __init__(self, keys: list[str], held: Collection[str] = ()) -> None:
        self._keys = [[" "] if key == " " else key.split() for key in keys]
        self._held = held
        self.pictures: list[npt.NDArray[np.uint8]] = []
        self.lines: list[list[str]] = []
        self.sounds: list[float] = []
        self.minds: list[bool] = []
        self.cards: list[list[str]] = []

    def poll(self) -> tuple[list[str], Collection[str]]:
        return (self._keys.pop(0) if self._keys else ["q"]), self._held

    def show(self, picture: Any, lines: Any, card: Any = (), mind: Mind | None = None) -> None:
        self.pictures.append(picture)
        self.minds.append(mind is not None)
        self.cards.append(list(card))
        self.lines.append(list(lines))

    def sound(self, samples: npt.NDArray[np.uint8], volume: float) -> None:
        assert samples.shape == (512,)
        self.sounds.append(volume)


class Bare(Mind):
    """A mind that shows the console's own picture, so that one sees that it was asked."""

    def __init__(self) -> None: ...

    def over(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return picture

    def panel(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        return np.zeros((height, width, 3), np.uint8)


def make_play(
    game: WatchedGame,
    keyboard: Keyboard,
    *,
    mind: Mind | None = None,
    on_step: Callable[[Step], None] | None = None,
    mean_of_tests: float | None = None,
    folder: Path = Path(),
) -> Play:
    return Play(
        game,
        keyboard,
        mind=mind,
        show_mind=False,
        on_step=on_step,
        mean_of_tests=mean_of_tests,
        files=folder / "a",
    )


def run(
    keys: list[str],
    held: Collection[str] = (),
    *,
    with_network: bool = True,
    max_frames: int | None = None,
    records: bool = True,
    **given: Any,
) -> tuple[Keyboard, list[Step]]:
    """Press keys; what was shown (without the frame in which the game was left) and played."""
    network = Script(np.full(2_000, 1), len(PONG)) if with_network else None
    game = make_game(make_console("pong"), network, max_frames=max_frames)
    keyboard, steps = Keyboard(keys, held), list[Step]()
    mind = Bare() if with_network else None
    make_play(game, keyboard, mind=mind, on_step=steps.append if records else None, **given).run()
    del keyboard.pictures[-1], keyboard.lines[-1]
    return keyboard, steps


@pytest.mark.parametrize("key", ["q", "escape", "close"])
def test_the_network_plays_and_its_game_is_shown_and_heard_until_a_person_leaves(key: str) -> None:
    keyboard, steps = run([*[""] * 40, key, *["s"] * 100])
    assert {picture.shape for picture in keyboard.pictures} == {(420, 640, 3)}
    assert len(keyboard.sounds) == 41
    assert [step.action for step in steps] == [1] * 10
    assert [step.first for step in steps] == [True] + [False] * 9
    assert keyboard.lines[0][0].startswith("The network plays   score 0   speed 1")


def test_volume_and_a_new_game() -> None:
    keyboard, steps = run(["", "]", "]", *["["] * 9, "]", "r", *[""] * 4])
    expected = [0.5, 0.6, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0, 0, *[0.1] * 7]
    assert keyboard.sounds == pytest.approx(expected)
    assert [step.first for step in steps] == [True, False, False, True]


def test_m_takes_over_and_gives_back() -> None:
    keyboard, steps = run([""] * 8 + ["m"] + [""] * 7 + ["m"] + [""] * 7, held={"UP"})
    assert [step.by_person for step in steps] == [False] * 2 + [True] * 2 + [False] * 2
    assert [step.action for step in steps] == [1, 1, 2, 2, 1, 1]  # up is Pong's right
    assert [line[0][:3] for line in keyboard.lines[7:17]] == ["The", *["You"] * 8, "The"]
    assert "m: take over" in keyboard.lines[7][1]
    assert "m: hand back" in keyboard.lines[8][1]


def test_without_a_network_the_person_always_plays() -> None:
    keyboard, steps = run(["m", "v", *[""] * 6], held={"FIRE"}, with_network=False)
    assert [(step.by_person, step.action) for step in steps] == [(True, 1)] * 2
    assert "space: fire" in keyboard.lines[0][1]
    assert "m: " not in keyboard.lines[0][1]
    assert "mind" not in keyboard.lines[0][1]


@pytest.mark.parametrize(
    ("keys", "frames_played"),
    [
        (["a a a a a a"], 5),  # an eighth is the least
        (["- + +"], 80),
        (["s s s s s s s"], 320),
        (["a s"], 40),
        (["m a s -"], 20),  # a and s steer a person
    ],
)
def test_speed(keys: list[str], frames_played: int) -> None:
    """Frames played in 40 sixtieths of a second; sound is heard at the games' own speed alone."""
    keyboard, steps = run(keys + [""] * 39 + ["p"])
    assert len(steps) == frames_played // 4
    assert bool(keyboard.sounds) == (frames_played == 40)


def test_pause_and_single_steps() -> None:
    keyboard, steps = run([""] * 4 + ["p"] + [""] * 9 + ["n", "", "n", "", "p", "", "", ""])
    assert len(steps) == 4
    still = keyboard.pictures[3:14]
    assert all((picture == still[0]).all() for picture in still)
    assert "paused" in keyboard.lines[14][0]
    assert "paused" not in keyboard.lines[-1][0]


def test_v_shows_the_mind() -> None:
    keyboard, _ = run(["", "v", "", "v"])
    assert [picture.shape[0] for picture in keyboard.pictures] == [420, 210, 210, 420]
    assert keyboard.minds == [False, True, True, False, False]


@pytest.mark.parametrize(("cost", "pictures"), [(0.0, 120), (0.02, 100), (0.05, 40)])
def test_slow_drawing_costs_pictures_and_no_frames(
    clock: Clock, cost: float, pictures: int
) -> None:
    """Two seconds of Pong on displays that take so long for a picture."""

    class Slow(Keyboard):
        def poll(self) -> tuple[list[str], Collection[str]]:
            return ([] if clock.now < 2 else ["q"]), ()

        def show(self, *shown: Any) -> None:
            super().show(*shown)
            clock.now += cost

    game, slow = make_game(make_console("pong")), Slow([])
    make_play(game, slow).run()
    assert game.console.frames == pytest.approx(120, abs=4)
    assert len(slow.pictures) == pytest.approx(pictures, abs=3)


def test_a_card_of_scores_follows_each_game() -> None:
    """The last picture stays until the space bar or some seconds begin the next game."""
    keys = [*[""] * 20, " ", "m", *[""] * 18, "", " ", *[""] * 300]
    keyboard, steps = run(keys, max_frames=16, mean_of_tests=20.125)
    card = "Game over", "The network: 0", "The network's tests: mean 20.12", "space: the next game"
    assert keyboard.cards[15] == list(card)
    assert keyboard.cards[:15] == [[]] * 15
    assert all((keyboard.pictures[15] == picture).all() for picture in keyboard.pictures[16:20])
    assert [bool(card) for card in keyboard.cards[19:21]] == [True, False]
    second = next(card for card in keyboard.cards[20:] if card)
    assert second[1:3] == ["The network: 0", "You and the network: 0"]
    last = [len(card) for card in keyboard.cards[60:]]
    assert last.index(0) < 260  # the next game begins by itself
    assert [step.first for step in steps].count(True) >= 3
    card = ScoreCard(None)
    card.add(3, {"you", "the network"})
    card.add(8, {"you", "the network"})
    assert card.lines() == ["You and the network: 8, best 8, mean 5.5 of 2 games"]


def test_help_is_shown_over_the_waiting_game() -> None:
    keyboard, steps = run([""] * 4 + ["h"] + [""] * 9 + ["?"] + [""] * 4)
    assert len(steps) == 2
    assert keyboard.cards[3:15] == [[], *[KEYS.splitlines()] * 10, []]
    assert "h: all keys" in keyboard.lines[0][1]


def test_e_changes_how_much_the_network_explores() -> None:
    keyboard, _ = run(["E E", "e", "e e e", *["E"] * 30])
    percents = [line[0].split("exploration ")[1].split()[0] for line in keyboard.lines]
    assert percents[:4] == ["10%", "5%", "0%", "5%"]
    assert percents[-1] == "100%"
    keyboard, _ = run(["E"], with_network=False)
    assert "exploration" not in keyboard.lines[0][0]


def test_pictures_and_films_are_written_while_playing(tmp_path: Path) -> None:
    """They never take another's place; a film that nobody ended is complete, too."""
    keys = ["", "f12", "f12", "c", *[""] * 58, "v", "c", "", "", "c", *[""] * 29]
    keyboard, _ = run(keys, folder=tmp_path)
    names = [f"a_play{number}" for number in ("1.mp4", "1.png", "2.mp4", "2.png")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    first = cv2.cvtColor(cv2.imread(str(tmp_path / "a_play1.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(first, keyboard.pictures[0])
    for name, frames in ((names[0], 60), (names[2], 31)):  # one is played while a person leaves
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].frames == frames
    assert "a_play1.png" in keyboard.lines[1][0]
    assert "filming" in keyboard.lines[30][0]
    assert "filming" not in keyboard.lines[64][0]


def test_a_game_goes_on_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "videos").touch()  # no folder
    keys = ["", "f12", "c", *[""] * 30]
    keyboard, steps = run(keys, folder=tmp_path / "videos")
    assert len(steps) == 8
    assert "videos" in keyboard.lines[1][0]
    assert "filming" not in keyboard.lines[9][0]
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_backspace_goes_back_three_seconds() -> None:
    """And what follows is the same again, since nothing here is left to chance."""
    keyboard, _ = run([""] * 330 + ["backspace"] + [""] * 60, records=False)
    shown = [picture.tobytes() for picture in keyboard.pictures]
    again = shown.index(shown[331], 330 - 4 * 60 - 4, 330 - 3 * 60 + 1)
    assert shown[331:390] == shown[again : again + 59]
    assert len(set(shown[again : again + 59])) > 30
    keyboard, _ = run([""] * 150 + ["backspace"] * 9 + [""] * 9, records=False)
    assert keyboard.pictures[155].tobytes() in {p.tobytes() for p in keyboard.pictures[:10]}
    keyboard, _ = run([""] * 100 + ["backspace", ""])
    assert "no rewinding while your steps are recorded" in keyboard.lines[100][0]


@pytest.mark.parametrize(
    ("actions", "held", "expected"),
    [
        (PONG, {"UP"}, "RIGHT"),
        (PONG, {"DOWN", "FIRE"}, "LEFTFIRE"),
        (PONG, {"LEFT"}, "LEFT"),
        (BREAKOUT, {"LEFT", "FIRE"}, "LEFT"),
        (BREAKOUT, {"FIRE"}, "FIRE"),
        (["NOOP", "UP", "DOWN"], {"UP", "LEFT"}, "UP"),  # Freeway
        (["NOOP", "UP", "DOWN"], {"RIGHT", "FIRE"}, "NOOP"),
        (list(ale_py.Action.__members__)[:18], {"UP", "RIGHT", "FIRE"}, "UPRIGHTFIRE"),
        (["FIRE", "RIGHT", "LEFT"], {"RIGHT", "UP"}, "RIGHT"),  # Backgammon
        (["FIRE", "RIGHT", "LEFT"], set(), None),
        (["FIRE", "UPRIGHT", "UPLEFT"], {"UP"}, None),  # Video Checkers
        (["FIRE", "UPRIGHT", "UPLEFT"], {"UP", "LEFT"}, "UPLEFT"),
    ],
)
def test_held_directions_become_an_action(
    actions: list[str], held: set[str], expected: str | None
) -> None:
    action = action_of(held, actions)
    assert (None if action is None else actions[action]) == expected


@pytest.mark.parametrize("game", ["backgammon", "video_checkers"])
def test_a_person_may_do_nothing_in_a_game_without_such_an_action(game: str) -> None:
    """The two games of ALE that have no NOOP; no network could learn from the idle steps."""
    watched, idle, fired = make_game(make_console(game)), list[Step](), list[Step]()
    make_play(watched, Keyboard([""] * 8), on_step=idle.append).run()
    assert [step.by_person for step in idle] == [False] * 2
    make_play(watched, Keyboard([""] * 8, held={"FIRE"}), on_step=fired.append).run()
    assert {(step.by_person, step.action) for step in fired} == {(True, 0)}
