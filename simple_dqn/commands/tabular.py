"""`tabular ENVIRONMENT`: solve a small environment, and learn it with a table and a network."""

import re
import secrets
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from simple_dqn import streams
from simple_dqn.agent import Network
from simple_dqn.checkpoints.places import check_output, root
from simple_dqn.files import write_atomically
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.tabular.comparison import Comparison, compare, learn, read_environment
from simple_dqn.tabular.picture import draw_picture
from simple_dqn.tabular.q_table import QTable
from simple_dqn.tabular.value_iteration import (
    best_actions,
    greedy_policy,
    limit,
    policy_evaluation,
    value_iteration,
)

_PIECES = 40  # points of a curve
_ITERATIONS = 200  # of value iteration that are drawn


def tabular(
    environment: str,
    *,
    random_seed: int | None,
    output: Path | None,
    csv_file: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Write a table to standard output, a picture and a CSV file; `options` are others of a run."""
    name = re.sub(r"[^\w.+=-]", "_", environment)
    output = output or root() / "results" / f"{name}_tabular.png"
    csv_file = csv_file or root() / "results" / f"{name}_tabular.csv"
    check_output(output, "--output", [".png", ".svg", ".pdf"], overwrite=overwrite)
    check_output(csv_file, "--csv_file", [".csv"], overwrite=overwrite)
    seed = secrets.randbits(32) if random_seed is None else random_seed
    settings = Settings(
        game=environment,
        environment="gym",
        random_seed=seed,
        **options,
        # Rewards as they are; all actions random, so that every state is seen.
        min_reward=-1e9,
        max_reward=1e9,
        exploration_rate_end=1.0,
        train_frequency=1,
        optimizer="adam",
        learning_rate=0.001,
        adam_epsilon=1e-8,
        clip_error=0,
        target_steps=100,
    )
    game, discount_rate = read_environment(settings), settings.discount_rate
    num_states, num_actions = game.process.rewards.shape
    random_policy = np.full((num_states, num_actions), 1 / num_actions)
    random_values = limit(policy_evaluation(*game.process, discount_rate, random_policy))
    optimal = limit(value_iteration(*game.process, discount_rate))
    iterations = islice(value_iteration(*game.process, discount_rate), _ITERATIONS)
    errors = [float(np.abs(values - optimal).max()) for values in iterations]
    table = QTable(num_states, num_actions, decay=0.6 if game.is_random else 0.0)
    threads = parts.choose_threads(settings)
    deep = parts.make_network(settings, num_actions, (num_states,), threads, seed)
    learners: dict[str, tuple[Network, int, int]] = {
        "Q-table": (table, 1, 2),
        "DQN": (deep, 32, 50_000),
    }
    learned: dict[str, list[Comparison]] = {}
    ends = {  # what is in the table: a comparison and a policy by title
        "random policy": (compare(random_values, optimal, game.reachable, 0), random_policy),
        "optimal policy": (compare(optimal, optimal, game.reachable, 0), greedy_policy(optimal)),
    }
    for title, (learner, batch_size, replay_size) in learners.items():
        learned[title] = []
        pieces = learn(
            settings, learner, batch_size=batch_size, replay_size=replay_size, pieces=_PIECES
        )
        for steps, values in tqdm(
            pieces, f"{title} learns", _PIECES + 1, disable=None, leave=False
        ):
            learned[title].append(compare(values, optimal, game.reachable, steps))
        ends[title] = learned[title][-1], greedy_policy(values)
    lines = [",".join(["learner", *Comparison._fields])]
    lines += [",".join([title, *map(str, row)]) for title in learned for row in learned[title]]
    write_atomically(csv_file, ("\n".join(lines) + "\n").encode())
    draw_picture(game, random_values, optimal, errors, discount_rate, learned, output)
    best = best_actions(optimal[game.reachable])
    lines = [f"{'':16}{'steps':>9}{'largest |Q - Q*|':>18}{'optimal in':>12}{'V(start)':>12}"]
    for title, (end, policy) in ends.items():
        share = "" if title == "random policy" else f"{end.optimal_share:.1%}"
        value = game.value_of(policy, discount_rate)
        lines.append(
            f"{title:16}{end.steps:>9,}{end.largest_error:>18.4g}{share:>12}{value:>12.4g}"
        )
    streams.write(
        f"{environment}: {num_states} states, {game.reachable.sum()} of them reachable, "
        f"{num_actions} actions; discount rate {discount_rate:g}\n"
        f"{(best.sum(axis=1) > 1).sum()} reachable states have several optimal actions\n\n"
        + "\n".join(lines)
        + f"\n\n{csv_file}\n{output}\n"
    )
