"""`tabular ENVIRONMENT`: solve an environment that is known whole, and learn it in two ways."""

import csv
import io
import logging
import re
import secrets
from itertools import islice
from pathlib import Path

import numpy as np

from simple_dqn import streams
from simple_dqn.agent import Network
from simple_dqn.checkpoints.places import check_output, root
from simple_dqn.files import write_atomically
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.tabular.comparison import Known, Progress, known, learn, progress, returns
from simple_dqn.tabular.picture import draw_known
from simple_dqn.tabular.q_table import (
    Array,
    QTable,
    best_actions,
    check_ends,
    limit,
    policy_evaluation,
    value_iteration,
)

logger = logging.getLogger(__name__)

_PIECES = 40  # points of a curve
# Value iteration is drawn up to so many iterations, or to the one whose bound is so small.
_MOST_ITERATIONS, _SMALLEST_ERROR = 400, 1e-6


def tabular(
    environment: str,
    *,
    environment_options: str,
    discount_rate: float,
    train_steps: int,
    network: str,
    random_seed: int | None,
    output: Path | None,
    csv_file: Path | None,
    overwrite: bool,
) -> None:
    """Write a table to standard output, a picture and a CSV file.

    Args:
        environment: id of the environment.
        environment_options: its keyword arguments, as JSON.
        discount_rate: gamma.
        train_steps: steps from which the table and the network learn, each.
        network: the layers of the network.
        random_seed: of all that is random; None: it is drawn.
        output: the picture; None: results/<environment>_tabular.png.
        csv_file: errors over the steps; None: results/<environment>_tabular.csv.
        overwrite: whether files may be replaced.
    """
    name = re.sub(r"[^\w.+=-]", "_", environment)
    output = output or root() / "results" / f"{name}_tabular.png"
    csv_file = csv_file or root() / "results" / f"{name}_tabular.csv"
    check_output(output, "--output", [".png"], overwrite=overwrite)
    check_output(csv_file, "--csv_file", [".csv"], overwrite=overwrite)
    settings = Settings(
        game=environment,
        environment="gym",
        environment_options=environment_options,
        random_seed=secrets.randbits(32) if random_seed is None else random_seed,
        discount_rate=discount_rate,
        train_steps=train_steps,
        network=network,
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
    seed = settings.random_seed or 0
    game = known(settings)
    num_states, num_actions = game.process.rewards.shape
    logger.info("%s: %d states, %d actions", environment, num_states, num_actions)
    if discount_rate == 1:
        check_ends(game.process.transitions)
    random_policy = np.full((num_states, num_actions), 1 / num_actions)
    random_values = limit(policy_evaluation(*game.process, discount_rate, random_policy))
    optimal = limit(value_iteration(*game.process, discount_rate))
    iterations = islice(value_iteration(*game.process, discount_rate), _MOST_ITERATIONS)
    errors = []
    for number, values in enumerate(iterations):
        errors.append(float(np.abs(values - optimal).max()))
        if errors[0] * discount_rate**number < _SMALLEST_ERROR:
            break

    table = QTable(num_states, num_actions, decay=0.6 if game.is_random else 0.0)
    threads = parts.choose_threads(settings)
    deep = parts.make_network(settings, num_actions, (num_states,), threads, seed)
    learned: dict[str, list[Progress]] = {}
    policies = {"random policy": random_policy, "optimal policy": _greedy(optimal)}
    networks: dict[str, tuple[Network, int, int]] = {
        "Q-table": (table, 1, 2),
        "DQN": (deep, 32, 50_000),
    }
    for title, (learner, batch_size, replay_size) in networks.items():
        told = learn(
            settings, learner, batch_size=batch_size, replay_size=replay_size, pieces=_PIECES
        )
        rows = []
        for steps, values in told:
            rows.append(progress(values, optimal, game.reachable, steps))
            logger.info("%s: %s steps, largest error %.4g", title, f"{steps:,}", rows[-1][1])
        learned[title], policies[title] = rows, _greedy(values)
    write_atomically(csv_file, _csv(learned).encode())
    picture = draw_known(game, random_values, optimal, errors, discount_rate, learned)
    write_atomically(output, picture)
    best = best_actions(optimal[game.reachable])
    streams.write(
        f"{environment}: {num_states} states, {game.reachable.sum()} of them reachable, "
        f"{num_actions} actions; discount rate {discount_rate:g}\n"
        f"{(best.sum(axis=1) > 1).sum()} reachable states have several optimal actions\n\n"
        + _report(game, policies, learned, random_values, optimal, seed)
        + f"\n{csv_file}\n{output}\n"
    )


def _greedy(values: Array) -> Array:
    """The policy that takes one of the best actions, each with the same probability."""
    best = best_actions(values)
    policy: Array = best / best.sum(axis=1, keepdims=True)
    return policy


def _report(
    game: Known,
    policies: dict[str, Array],
    learned: dict[str, list[Progress]],
    random_values: Array,
    optimal: Array,
    seed: int,
) -> str:
    """A row for each policy."""
    ends = {name: rows[-1] for name, rows in learned.items()}
    ends["optimal policy"] = progress(optimal, optimal, game.reachable, 0)
    ends["random policy"] = progress(random_values, optimal, game.reachable, 0)
    lines = [f"{'':16}{'steps':>9}{'largest |Q - Q*|':>18}{'optimal in':>12}{'return':>20}"]
    for name, policy in policies.items():
        scores = returns(game, policy, seed)
        end = ends[name]
        share = "" if name == "random policy" else f"{end.optimal_share:.1%}"
        lines.append(
            f"{name:16}{end.steps:>9,}{end.largest_error:>18.4g}{share:>12}"
            f"{scores.mean():>12.2f} +- {scores.std():.2f}"
        )
    return "\n".join(lines) + "\n"


def _csv(learned: dict[str, list[Progress]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learner", *Progress._fields])
    for name, rows in learned.items():
        writer.writerows([name, *row] for row in rows)
    return text.getvalue()
