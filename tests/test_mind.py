"""The mind beside games whose screens, histories and actions differ."""

import pytest
from helpers import make_network, make_settings
from test_watched_game import make_console

from simple_dqn.run import parts
from simple_dqn.watch.mind import WIDTH, Mind
from simple_dqn.watch.watched_game import WatchedGame


def make_mind(game: str, *, history_length: int = 4) -> tuple[WatchedGame, Mind]:
    shape = (36, 40)
    console = make_console(game, screen_shape=shape)
    num_actions = len(console.actions)
    network = make_network(
        num_actions=num_actions, observation_shape=shape, history_length=history_length
    )
    guided = parts.make_guided_network(
        make_settings(history_length=history_length),
        num_actions,
        shape,
        network.get_weights(),
        "cpu",
    )
    watched = WatchedGame(
        console,
        network,
        history_length=history_length,
        frame_skip=4,
        exploration_rate=0.0,
        random_starts=0,
        max_frames=None,
        random_seed=3,
    )
    return watched, Mind(watched, network, guided)


@pytest.mark.parametrize(
    ("game", "height"),
    [("pong", 210), ("carnival", 214), ("pooyan", 220), ("journey_escape", 230), ("klax", 250)],
)
def test_screens_of_every_height_have_a_mind_beside_them(game: str, height: int) -> None:
    """All heights that ALE's games have."""
    watched, mind = make_mind(game)
    picture = mind.beside(watched.frame(0).picture)
    assert picture.shape == (2 * height, 640 + WIDTH, 3)
    assert (picture[:, 640:] > 150).any()


@pytest.mark.parametrize("history_length", [1, 16])
def test_histories_of_every_length_have_a_mind(history_length: int) -> None:
    watched, mind = make_mind("pong", history_length=history_length)
    picture = mind.beside(watched.frame(0).picture)
    assert picture.shape == (420, 640 + WIDTH, 3)
