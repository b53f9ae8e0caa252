"""A window on a run: what it shows, how it closes, and that learning is the same with it."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame
import pytest
from kill_driver import rows as read_rows
from test_main import TINY
from test_window import shown as window_shows

from simple_dqn.environment import TimeStep
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.watch.live import LiveWindow
from simple_dqn.watch.window import Window


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The lines below each picture that is shown, on SDL's dummy driver."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown: list[list[str]] = []
    show = Window.show

    def record(self: Window, picture: npt.NDArray[np.uint8], lines: list[str]) -> None:
        shown.append(lines)
        show(self, picture, lines)

    monkeypatch.setattr(Window, "show", record)
    return shown


def run_of(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """A run whose games show observations of a shape."""
    environment = SimpleNamespace(observation_shape=shape, observation_dtype=np.dtype(dtype))
    return SimpleNamespace(environment=environment, settings=SimpleNamespace(game="test"))


@pytest.fixture
def live(lines: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveWindow]:  # noqa: ARG001
    """Each step comes a second after the last one."""
    seconds = iter(range(1000))
    monkeypatch.setattr("simple_dqn.watch.live.time.perf_counter", lambda: float(next(seconds)))
    window = LiveWindow()
    window.on_run_start(run_of((60, 84), np.uint8))
    yield window
    window.on_run_end()


def step(live: LiveWindow, reward: float = 0.0, *, over: bool = False, shade: int = 0) -> None:
    """A step of two games; the second one scores and ends all the time."""
    screens = np.full((2, 60, 84), 255, np.uint8)
    screens[0] = shade
    ends = np.array([over, True])
    live.on_step(TimeStep(screens, np.array([reward, 7], np.float32), ends, ends), 2, 0.25)


def test_the_first_game_and_how_it_goes(live: LiveWindow, lines: list[list[str]]) -> None:
    live.on_phase_start("random", 0, 2000, "steps")
    step(live, 3, shade=99)
    picture = window_shows()
    assert (picture[100:200, 100:200] == 99).all()
    assert picture.shape[1] / (picture.shape[0] - 46) == pytest.approx(84 / 60, abs=0.02)
    step(live, 1, over=True)
    step(live, 5)
    live.on_phase_end()
    live.on_phase_start("test", 3, 30, "games")
    step(live)
    assert [line[0] for line in lines] == [
        "random   step 2 of 2,000   score 3",
        "random   step 4 of 2,000   score 4",
        "random   step 6 of 2,000   score 5",
        "test 3   step 2   score 0",
    ]
    assert all(line[1].startswith("exploration rate 0.250 ") for line in lines)


def test_no_more_than_sixty_pictures_a_second(
    live: LiveWindow, lines: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(np.arange(1000) / 1000)
    monkeypatch.setattr("simple_dqn.watch.live.time.perf_counter", lambda: float(next(times)))
    live.on_phase_start("train", 1, 2000, "steps")
    for _ in range(1000):
        step(live)
    assert 50 <= len(lines) <= 60
    assert lines[-1][0].startswith("train 1   step 1,9")


def test_a_closed_window_lets_the_run_go_on(live: LiveWindow, lines: list[list[str]]) -> None:
    live.on_phase_start("train", 1, 2000, "steps")
    step(live)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    for _ in range(3):
        step(live)
    assert len(lines) == 1
    assert not pygame.display.get_init()


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4,), np.float32, "--display_screen shows pictures"),
        ((84, 84), np.float32, "--display_screen shows pictures"),
        ((84, 84), np.uint8, "no display .* leave out --display_screen"),
    ],
)
def test_without_pictures_or_a_display_no_run_starts(
    shape: tuple[int, ...], dtype: npt.DTypeLike, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=message):
        LiveWindow().on_run_start(run_of(shape, dtype))


def test_learning_is_the_same(root: Path, lines: list[list[str]]) -> None:
    """In training, testing and resuming; a snapshot does not keep the option."""
    display = ["--display_screen", "yes"]
    assert main(["train", "pong", *TINY]) == 0
    assert lines == []
    assert main(["train", "pong", "seen", *TINY, *display]) == 0
    first, second = root / "results" / "pong.csv", root / "results" / "pong_seen.csv"
    assert read_rows(first) == read_rows(second)
    assert {re.sub("   .*", "", line[0]) for line in lines} >= {"random", "train 1", "train 2"}
    last = str(root / "snapshots" / "pong_seen_2.safetensors")
    lines.clear()
    assert main(["test", last]) == 0
    assert lines == []
    assert main(["test", last, *display]) == 0
    assert {line[0][:7] for line in lines} == {"test 2 "}
    lines.clear()
    assert main(["resume", last, "--epochs", "3", *display]) == 0
    assert lines[0][0].startswith("train 3   step ")
    assert not pygame.display.get_init()
