"""The mind beside games whose screens, histories and actions differ."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import make_network, make_settings
from test_watched_game import make_console, make_game

from simple_dqn.run import parts
from simple_dqn.watch.mind import WIDTH, Mind, beside
from simple_dqn.watch.watched_game import WatchedGame


def make_mind(
    game: str, *, history_length: int = 4, exploration_rate: float = 0.0, **options: Any
) -> tuple[WatchedGame, Mind]:
    shape = (36, 40)
    console = make_console(game, screen_shape=shape)
    num_actions = len(console.actions)
    network = make_network(
        num_actions=num_actions, observation_shape=shape, history_length=history_length, **options
    )
    guided = parts.make_guided_network(
        make_settings(history_length=history_length, **options),
        num_actions,
        shape,
        network.get_weights(),
    )
    watched = make_game(
        console, network, history_length=history_length, exploration_rate=exploration_rate
    )
    return watched, Mind(watched, network, guided)


@pytest.mark.parametrize(
    ("game", "height", "history_length"),
    [("pong", 210, 1), ("pong", 210, 16), ("carnival", 214, 4), ("klax", 250, 4)],
)
def test_every_height_and_history_has_a_mind_beside_it(
    game: str, height: int, history_length: int
) -> None:
    watched, mind = make_mind(game, history_length=history_length)
    picture = beside(watched.frame(0).picture, watched.console, mind)
    assert picture.shape == (2 * height, 640 + WIDTH, 3)
    assert (picture[:, 640:] > 150).any()


def think(
    *decisions: tuple[list[float], int], person_plays: bool = False, screens: bool = True
) -> Mind:
    """A mind that has seen these Q-values and actions."""
    network, guided, game = SimpleNamespace(), SimpleNamespace(), SimpleNamespace()
    game.console = SimpleNamespace(frames_per_second=60, enlarge=lambda picture: picture)
    game.console.observation_names = "position", "speed"
    game.frame_skip, game.action_meanings = 30, ["NOOP", "FIRE", "LEFT"]  # remembers 16 decisions
    game.decisions, game.person_plays = 0, person_plays
    game.seen = np.zeros((4, 36, 40), np.uint8) if screens else np.array([[0.5, -2]], np.float32)
    guided.project_action = lambda state, action: 0.0 * state + 0 * action
    network.predict_distribution = lambda _: None
    mind: Any = Mind(game, network, guided)
    for values, action in decisions:
        network.predict = partial(lambda values, _: np.array([values], np.float32), values)
        game.decisions, game.action = game.decisions + 1, action
        mind.follow()
    return mind


def text(*decisions: tuple[list[float], int], person_plays: bool = False) -> list[str]:
    return think(*decisions, person_plays=person_plays).lines()


def test_bars_show_how_much_worse_than_the_best_an_action_is() -> None:
    """Bars of large values that hardly differ do differ; the average difference is the scale."""
    lines = text(([100.0, 100.02, 100.01], 1))
    assert lines[1] == f" noop {'':8} 100.00"
    assert lines[2] == ">fire ████████ 100.02"
    assert lines[3].startswith(" left ████ ")
    wide = text(([3.0, 7.0, 5.0], 1), ([100.0, 100.02, 100.01], 1))
    assert wide[1].startswith(" noop ███████▉")
    forgotten = text(([3.0, 7.0, 5.0], 1), *[([100.0, 100.02, 100.01], 1)] * 16)
    assert forgotten[1] == lines[1]
    picture = think(([100.0, 100.02, 100.01], 1)).panel(WIDTH, 420)
    orange = (picture[40:80] == (255, 158, 52)).all(axis=2).sum(axis=1).max()
    grey = (picture[22:202] == (92, 112, 140)).all(axis=2).sum(axis=1)
    assert orange == pytest.approx(WIDTH - 58 - 104, abs=2)
    assert grey.max() == pytest.approx(orange / 2, abs=2)


def test_a_random_action_is_called_exploring() -> None:
    assert "exploring" in text(([1.0, 2.0, 3.0], 0))[0]
    assert "exploring" not in text(([1.0, 2.0, 3.0], 2))[0]
    assert "if the network" in text(([1.0, 2.0, 3.0], 2), person_plays=True)[0]
    game, mind = make_mind("breakout", exploration_rate=1.0)
    explored = set()
    for _ in range(80):
        game.frame(0)
        explored.add("exploring" in mind.lines()[0])
    assert explored == {True, False}  # one of four random actions is the best


@pytest.mark.parametrize("distributional", ["c51", "qr"])
def test_a_distribution_of_returns_is_shown(distributional: str) -> None:
    """Its mean is the Q-value, but for half a step between quantiles."""
    game, mind = make_mind("breakout", distributional=distributional)
    picture = game.frame(0).picture
    returns, probabilities = mind._network.predict_distribution(game.seen[None])
    assert probabilities.shape == (1, 4, len(returns))
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    values = mind._network.predict(game.seen[None])
    error = 1e-4 if distributional == "c51" else (returns[1] - returns[0]) / 2 * 1.001
    np.testing.assert_allclose(probabilities @ returns, values, atol=error)
    lines = mind.lines()
    assert lines[-2].startswith("return, ")
    if distributional == "c51":
        assert lines[-2] == "return, -10.00 to 10.00"
        assert "█" in lines[-1][12:14]  # an untrained network expects about nothing
    assert len(lines) == 2 + 4 + 2  # with those of the Q-values of four actions
    assert max(map(len, lines)) <= 30  # beside the picture in a terminal
    panel = beside(picture, game.console, mind)[:, 640:]
    assert (panel[180:230] == (255, 158, 52)).all(axis=2).any()


def test_the_axis_of_returns_is_that_of_the_last_seconds() -> None:
    """However the quantiles of a single state lie; its ends have two digits."""
    mind: Any = think(([1.0, 2.0, 3.0], 2))
    rows = []
    for low, high in ((-1.23456, 3.0), (0.5, 1.0)):
        returns = np.linspace(low, high, 51, dtype=np.float32)
        found = returns, np.full((1, 3, 51), 1 / 51, np.float32)
        mind._network.predict_distribution = lambda _, found=found: found
        mind._game.decisions += 1
        lines = mind.lines()
        rows.append(lines[-1])
        assert lines[-2] == "return, -1.23 to 3.00"
    assert rows[0].count(" ") == 0
    assert rows[1].strip("▁▂▃▄▅▆▇█") == rows[1]
    assert 2 <= len(rows[1].strip()) <= 5  # half of 4.23, of 26


@pytest.mark.parametrize(("width", "height"), [(180, 210), (720, 1300)])
def test_the_panel_is_drawn_at_any_size(width: int, height: int) -> None:
    """Not enlarged: the letters' edges are as sharp as the pixels; numbers have names."""
    mind = think(([1.0, 2.0, 3.0], 2), screens=False)
    assert mind.panel(width, height).shape == (height, width, 3)
    small, large = (mind.panel(*size).astype(int) for size in ((360, 420), (720, 840)))
    edges = [np.abs(np.diff(panel[:, :, 0], axis=1)).max() for panel in (small, large)]
    assert min(edges) > 180
    named = (mind.panel(360, 420)[385:415] > 100).any(axis=(0, 2))
    assert named[:180].any()
    assert named[180:].any()
