"""Grid World, and reinforcement learning where everything can be computed."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env
from test_main import refused

from simple_dqn.environments.grid_world import GridWorld
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.tabular.comparison import compare, learn, read_environment
from simple_dqn.tabular.q_table import QTable
from simple_dqn.tabular.value_iteration import (
    Process,
    best_actions,
    greedy_policy,
    limit,
    policy_evaluation,
    process_of,
    value_iteration,
)

Array = npt.NDArray[np.float64]
LEFT, DOWN, RIGHT, UP = range(4)
GRID = "simple_dqn/GridWorld-v0"
SMALL = "S..\n.#*\n..."


def frozen_lake(name: str, *, slippery: bool = True) -> Process:
    game: Any = gymnasium.make("FrozenLake-v1", map_name=name, is_slippery=slippery).unwrapped
    return process_of(game.P)


def policy_iteration(process: Process, discount_rate: float) -> Array:
    """Optimal V by policy iteration with linear solves (Howard 1960); no code of the toolkit."""
    num_states = len(process.rewards)
    policy = np.zeros(num_states, np.int64)
    everywhere = np.arange(num_states)
    while True:
        matrix = np.eye(num_states) - discount_rate * process.transitions[everywhere, policy]
        values: Array = np.linalg.solve(matrix, process.rewards[everywhere, policy])
        of_actions = process.rewards + discount_rate * process.transitions @ values
        better = of_actions.argmax(axis=1)
        gains = of_actions[everywhere, better] - of_actions[everywhere, policy]
        if (gains < 1e-12).all():
            return values
        policy = np.where(gains > 1e-12, better, policy)


def test_a_walk_is_what_the_map_says() -> None:
    game = GridWorld(map="S.#\n..*")
    check_env(game, skip_render_check=True)
    assert game.reset(seed=0) == (0, {})
    walk = [(UP, 0), (RIGHT, 1), (RIGHT, 1), (DOWN, 4), (LEFT, 3), (RIGHT, 4)]
    for action, cell in walk:
        assert game.step(action) == (cell, -1.0, False, False, {})
    assert game.step(RIGHT) == (5, -1.0, True, False, {})


def test_slips_go_to_the_sides() -> None:
    game = GridWorld(map="*..\n.S.\n...", slip=0.2)
    assert game.P[4][RIGHT] == [(0.8, 5, -1.0, False), (0.1, 7, -1.0, False), (0.1, 1, -1.0, False)]
    for actions in game.P.values():
        for outcomes in actions.values():
            assert sum(outcome[0] for outcome in outcomes) == pytest.approx(1)


def test_a_map_in_a_file_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "maze.txt").write_text("S.#\n..*\n")
    drawn = GridWorld(map=str(tmp_path / "maze.txt"), render_mode="rgb_array").render()
    assert drawn.shape == (64, 96, 3)
    centres = drawn[16::32, 16::32]
    assert len({tuple(colour) for colour in centres.reshape(-1, 3)}) == 4


@pytest.mark.parametrize(
    ("options", "what_is_wrong"),
    [
        ({"map": "S..\n..."}, "no star"),
        ({"map": "..*"}, "no start"),
        ({"map": "S.x*"}, "unknown letter 'x'"),
        ({"map": "S*\n..."}, "differ in length"),
        ({"map": "missing/maze.txt"}, "cannot read missing/maze.txt: No such file"),
        ({"slip": 1.5}, "not a probability"),
    ],
)
def test_bad_maps_are_refused(options: dict[str, Any], what_is_wrong: str) -> None:
    with pytest.raises(UserError, match=what_is_wrong) as error:
        GridWorld(**options)
    assert "\n" not in str(error.value)


def test_the_random_policys_values_without_discount_are_known() -> None:
    """The 4x4 grid with stars in two corners: Sutton and Barto 2018, figure 4.1."""
    process = process_of(GridWorld().P)
    values = limit(policy_evaluation(*process, 1.0, np.full((16, 4), 0.25))).mean(axis=1)
    expected = [0, -14, -20, -22, -14, -18, -20, -20, -20, -20, -18, -14, -22, -20, -14, 0]
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_the_value_of_a_policy_at_the_start() -> None:
    game = read_environment(make_settings(environment_options='{"slip": 0.3}'))
    policy = np.random.default_rng(0).dirichlet(np.ones(4), 16)
    transitions = (policy[:, :, None] * game.process.transitions).sum(axis=1)
    rewards = (policy * game.process.rewards).sum(axis=1)
    solved = np.linalg.solve(np.eye(16) - 0.9 * transitions, rewards)  # the Bellman equation
    assert game.value_of(policy, 0.9) == pytest.approx(solved[10])
    game = read_environment(make_settings())
    optimal = limit(value_iteration(*game.process, 0.9))
    assert game.value_of(greedy_policy(optimal), 0.9) == pytest.approx(-1.9)
    always_right = np.eye(4)[np.full(16, RIGHT)]
    assert game.value_of(always_right, 1.0) == -1000  # cut


@pytest.mark.parametrize("name", ["4x4", "8x8"])
@pytest.mark.parametrize("slippery", [True, False])
@pytest.mark.parametrize("discount_rate", [0.9, 0.99])
def test_frozen_lakes_optimum(name: str, slippery: bool, discount_rate: float) -> None:
    process = frozen_lake(name, slippery=slippery)
    values = limit(value_iteration(*process, discount_rate)).max(axis=1)
    np.testing.assert_allclose(values, policy_iteration(process, discount_rate), atol=1e-7)
    if not slippery:  # the shortest way has 6 or 14 steps
        assert values[0] == pytest.approx(discount_rate ** {"4x4": 5, "8x8": 13}[name])


def test_all_equally_good_actions_are_found() -> None:
    process = process_of(GridWorld(map="S.\n.*").P)
    best = best_actions(limit(value_iteration(*process, 0.9)))
    assert best[0].tolist() == [False, True, True, False]
    assert best[1].tolist() == [False, True, False, False]


def make_settings(**changes: Any) -> Settings:
    settings: dict[str, Any] = {
        "game": GRID,
        "environment": "gym",
        "network": "64,64",
        "random_seed": 2,
        "discount_rate": 0.9,
        "exploration_rate_end": 1.0,
        "train_frequency": 1,
        "min_reward": -100,
        "max_reward": 100,
        "train_steps": 3000,
    }
    return Settings(**settings | changes)


def test_a_q_table_learns_by_the_agents_loop() -> None:
    """Nothing is random: with learning rate 1 the values become Q* itself."""
    settings = make_settings()
    game = read_environment(settings)
    optimal = limit(value_iteration(*game.process, 0.9))
    table = QTable(16, 4, decay=0.0)
    learned = list(learn(settings, table, batch_size=1, replay_size=2, pieces=3))
    assert [steps for steps, _ in learned] == [0, 1000, 2000, 3000]
    assert compare(table.values, optimal, game.reachable, 3000)[1:] == (pytest.approx(0), 1.0)
    assert compare(learned[0][1], optimal, game.reachable, 0).largest_error > 2
    # Each step but the last two of each piece is learned from once.
    assert table.weight_updates == 3000 - 2 * 3


def test_a_q_table_learns_where_things_are_random() -> None:
    options = json.dumps({"map": SMALL, "slip": 0.3})
    settings = make_settings(train_steps=4_000, environment_options=options, discount_rate=0.7)
    game = read_environment(settings)
    assert game.is_random
    optimal = limit(value_iteration(*game.process, 0.7))
    table = QTable(9, 4, decay=0.6)
    list(learn(settings, table, batch_size=1, replay_size=2, pieces=1))
    end = compare(table.values, optimal, game.reachable, 4_000)
    assert end.largest_error < 0.25
    assert np.abs(optimal).max() > 2


def test_a_network_learns_the_optimal_policy_of_the_grid() -> None:
    """In every reachable state; the same Agent with DeepQNetwork in the table's place."""
    adam = {"optimizer": "adam", "learning_rate": 0.003, "adam_epsilon": 1e-8}
    changes = {"clip_error": 0, "target_steps": 50, "train_steps": 800, "network": "32"}
    options = json.dumps({"map": SMALL})
    settings = make_settings(**adam, **changes, environment_options=options)
    game = read_environment(settings)
    optimal = limit(value_iteration(*game.process, 0.9))
    network = parts.make_network(settings, 4, (9,), parts.choose_threads(settings), 1)
    *_, (steps, values) = learn(settings, network, batch_size=32, replay_size=5000, pieces=1)
    assert compare(values, optimal, game.reachable, steps).optimal_share == 1


@pytest.mark.parametrize(
    ("environment", "options"),
    [(GRID, '{"map": "S..\\n.#*"}'), ("FrozenLake-v1", "{}"), ("Taxi-v4", "{}")],
)
def test_the_command_prints_draws_and_writes(
    root: Path, capsys: pytest.CaptureFixture[str], environment: str, options: str
) -> None:
    command = ["tabular", environment, "--environment_options", options, "--random_seed", "0"]
    command += ["--train_steps", "80", "--network", "8", "--discount_rate", "0.7"]
    assert main(command) == 0
    output = capsys.readouterr().out
    for row in ("random policy", "optimal policy", "Q-table", "DQN"):
        assert f"\n{row}" in output
    *_, csv_file, picture = (Path(line) for line in output.splitlines())
    rows = list(csv.DictReader(csv_file.read_text().splitlines()))
    assert [row["steps"] for row in rows] == 2 * [str(2 * piece) for piece in range(41)]
    shown = cv2.imread(str(picture))
    assert shown is not None
    assert shown.std() > 10
    assert "is there already" in refused(capsys, 1, *command)
    assert root in csv_file.parents


@pytest.mark.parametrize(
    ("arguments", "what_is_wrong"),
    [
        (["CartPole-v1"], "no table P"),
        (["NoSuch-v0"], "cannot make"),
        ([GRID, "--environment_options", '{"map": "S.."}'], "no star"),
        (
            [GRID, "--environment_options", '{"map": "S*#."}', "--discount_rate", "1"],
            "do not converge; give a --discount_rate below 1",
        ),
    ],
)
def test_what_cannot_be_solved_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], what_is_wrong: str
) -> None:
    assert what_is_wrong in refused(capsys, 1, "tabular", *arguments)
    assert not list(root.rglob("*.png"))
