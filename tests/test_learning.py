"""End to end with the real parts: Catch is learned, and a run can be repeated exactly."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from catch import Catch, VectorCatch
from helpers import make_settings

from simple_dqn.run import parts
from simple_dqn.statistics import Row, Statistics

HISTORY_LENGTH = 2
TIMES = {"total_time", "epoch_time", "steps_per_second"}


class Result(NamedTuple):
    """Of a run: a row per phase without its times, and the weights before and after."""

    rows: list[Row]
    first_weights: dict[str, npt.NDArray[np.generic]]
    weights: dict[str, npt.NDArray[np.generic]]


def run(
    *,
    random_seed: int = 0,
    num_games: int = 1,
    game: type[Catch] = Catch,
    network_name: str = "nips",
    optimizer: str = "rmsprop",
    distributional: str = "none",
    learning_rate: float = 0.004,
    epochs: int = 1,
    train_steps: int = 1000,
    test_games: int = 100,
    **others: Any,
) -> Result:
    """Train on Catch, testing after every epoch."""
    environment, test_environment = (game(num_games=num_games) for _ in range(2))
    options = {
        **{"num_games": num_games, "history_length": HISTORY_LENGTH, "network": network_name},
        **{"learning_rate": learning_rate, "optimizer": optimizer, "discount_rate": 0.9},
        **{"distributional": distributional, "exploration_decay_steps": train_steps},
        **{"exploration_rate_test": 0.0, "train_frequency": 2, "target_steps": 100},
    }
    settings = make_settings(**(options | others))
    threads = parts.Threads("cpu", 1, 1)
    memory = parts.make_memory(settings, 2000, environment, threads)
    network = parts.make_network(
        settings, environment.num_actions, environment.observation_shape, threads, random_seed
    )
    agent = parts.make_agent(settings, environment, test_environment, memory, network, random_seed)
    statistics = Statistics(
        network=network,
        dead_units=network.dead_units,
        memory=memory,
        held_out_states=agent.held_out_states(50),
        writers=[],
        total_train_steps=0,
        replay_memory_count=0,
        total_time=0,
    )
    agent.callbacks.append(statistics)
    first_weights = network.get_weights()
    rows = []

    def keep_row() -> None:
        rows.append({name: cell for name, cell in statistics.row.items() if name not in TIMES})

    agent.play_random(200)
    keep_row()
    for epoch in range(1, epochs + 1):
        agent.train(epoch, train_steps)
        keep_row()
        agent.test_games(epoch, test_games)
        keep_row()
    return Result(rows, first_weights, network.get_weights())


def equal(
    weights: dict[str, npt.NDArray[np.generic]], others: dict[str, npt.NDArray[np.generic]]
) -> bool:
    return all(np.array_equal(weights[name], others[name]) for name in weights.keys() | others)


ONLINE = {
    **{"num_games": 8, "memory": "online", "stretch": 10, "target_steps": 0, "train_frequency": 8},
    **{"train_steps": 4000, "learning_rate": 0.002, "adam_epsilon": 1e-8},
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_games": 4, "optimizer": "adam", "learning_rate": 0.001},
        {
            **{"num_games": 4, "optimizer": "adam", "distributional": "qr"},
            **{"learning_rate": 0.002, "train_steps": 1200},
        },
        {
            **{"num_games": 4, "optimizer": "adam", "game": VectorCatch, "network_name": "mlp"},
            **{"learning_rate": 0.005, "epochs": 4},
        },
        {**ONLINE, "optimizer": "radam", "gradient_norm": 10.0},
        {**ONLINE, "optimizer": "adam", "distributional": "hl_gauss", "layer_norm": "true"},
    ],
    ids=str,
)
def test_catch_is_learned(settings: dict[str, Any]) -> None:
    """From -2/3, a sixth of the balls, to nearly all of them; from pictures or numbers."""
    rows = run(**settings).rows
    random, test = rows[0], rows[-1]
    assert (random["phase"], test["phase"]) == ("random", "test")
    assert float(random["average_reward"]) < -0.3
    assert test["nr_games"] == 100
    assert float(test["average_reward"]) > 0.9


def test_without_a_learning_rate_nothing_is_learned() -> None:
    """What learns is the network, not its surroundings."""
    result = run(learning_rate=0.0)
    assert result.rows[-1]["weight_updates"] == 500
    assert equal(result.weights, result.first_weights)
    assert float(result.rows[-1]["average_reward"]) < 0


def short_run(num_games: int, random_seed: int) -> Result:
    return run(
        num_games=num_games, random_seed=random_seed, epochs=2, train_steps=80, test_games=20
    )


@pytest.mark.parametrize("num_games", [1, 8])
def test_the_same_seed_gives_the_same_run(num_games: int) -> None:
    """Seed 0 is a seed like any other."""
    first, again, other = (short_run(num_games, seed) for seed in (0, 0, 1))
    assert first.rows[-1]["weight_updates"] == 80
    assert not equal(first.weights, first.first_weights)
    assert equal(first.weights, again.weights)
    assert first.rows == again.rows
    assert not equal(first.weights, other.weights)
    assert not equal(first.first_weights, other.first_weights)
    assert all(row != other_row for row, other_row in zip(first.rows, other.rows, strict=True))
