"""The mind beside games whose screens, histories and actions differ."""

from typing import Any

import numpy as np
import pytest
from helpers import make_network, make_settings
from test_watched_game import make_console, make_game

from simple_dqn.run import parts
from simple_dqn.watch.mind import HEIGHT, WIDTH, Mind, MindPanel
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
    picture = mind.beside(watched.frame(0).picture)
    assert picture.shape == (2 * height, 640 + WIDTH, 3)
    assert (picture[:, 640:] > 150).any()


def make_panel(*decisions: tuple[list[float], int], person_plays: bool = False) -> MindPanel:
    panel = MindPanel(["NOOP", "FIRE", "LEFT"], steps_per_second=2.0)  # remembers 16 decisions
    state, saliency = np.zeros((4, 36, 40), np.uint8), np.zeros((4, 36, 40), np.float32)
    for values, action in decisions:
        panel.update(
            np.array(values, np.float32), action, state, saliency, person_plays=person_plays
        )
    return panel


def test_bars_show_how_much_worse_than_the_best_an_action_is() -> None:
    """Bars of large values that hardly differ do differ; the average difference is the scale."""
    lines = make_panel(([100.0, 100.02, 100.01], 1)).lines()
    assert lines[1] == f" noop {'':8} 100.00"
    assert lines[2] == ">fire ████████ 100.02"
    assert lines[3].startswith(" left ████ ")
    wide = make_panel(([3.0, 7.0, 5.0], 1), ([100.0, 100.02, 100.01], 1))
    assert wide.lines()[1].startswith(" noop ███████▉")
    forgotten = make_panel(([3.0, 7.0, 5.0], 1), *[([100.0, 100.02, 100.01], 1)] * 16)
    assert forgotten.lines()[1] == lines[1]
    picture = make_panel(([100.0, 100.02, 100.01], 1)).draw()
    assert picture.shape == (HEIGHT, WIDTH, 3)
    orange = (picture[40:80] == (255, 158, 52)).all(axis=2).sum(axis=1).max()
    grey = (picture[22:202] == (92, 112, 140)).all(axis=2).sum(axis=1)
    assert orange == pytest.approx(WIDTH - 58 - 118, abs=2)
    assert grey.max() == pytest.approx(orange / 2, abs=2)


def test_a_random_action_is_called_exploring() -> None:
    assert "exploring" in make_panel(([1.0, 2.0, 3.0], 0)).lines()[0]
    assert "exploring" not in make_panel(([1.0, 2.0, 3.0], 2)).lines()[0]
    assert "if the network" in make_panel(([1.0, 2.0, 3.0], 2), person_plays=True).lines()[0]
    game, mind = make_mind("breakout", exploration_rate=1.0)
    explored = set()
    for _ in range(80):
        picture = game.frame(0).picture
        explored.add("exploring" in mind.in_text(picture)[1][0])
    assert explored == {True, False}  # one of four random actions is the best


@pytest.mark.parametrize("distributional", ["c51", "qr"])
def test_a_distribution_of_returns_is_shown(distributional: str) -> None:
    """Its mean is the Q-value, but for half a step between quantiles."""
    game, mind = make_mind("breakout", distributional=distributional)
    picture = game.frame(0).picture
    distribution = mind._network.predict_distribution(game.seen[None])
    assert distribution is not None
    returns, probabilities = distribution
    assert probabilities.shape == (1, 4, len(returns))
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    values = mind._network.predict(game.seen[None])
    error = 1e-4 if distributional == "c51" else (returns[1] - returns[0]) / 2 * 1.001
    np.testing.assert_allclose(probabilities @ returns, values, atol=error)
    shown, lines = mind.in_text(picture)
    assert shown.shape == (420, 640, 3)
    assert lines[-2].startswith("return, ")
    if distributional == "c51":
        assert lines[-2] == "return, -10 to 10"
        assert lines[-1][13] == "█"  # an untrained network expects about nothing
    assert len(lines) == len(make_mind_lines("breakout")) + 2
    panel = mind.beside(picture)[:, 640:]
    assert (panel[222:250] == (255, 158, 52)).all(axis=2).any()


def make_mind_lines(game: str) -> list[str]:
    watched, mind = make_mind(game)
    return mind.in_text(watched.frame(0).picture)[1]


@pytest.mark.parametrize("game", ["pong", "road_runner"])
def test_a_mind_in_text_fits_a_terminal(game: str) -> None:
    lines = make_mind_lines(game)
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 30
