"""What runs have reached: per game over the seeds, and over all games.

The figures over all games, and the intervals that show how far chance moves them, are those of
Agarwal et al. 2021 (Deep reinforcement learning at the edge of the statistical precipice). Scores
are human-normalized, in percent: 0 is random play, 100 a human.
"""

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from simple_dqn.environments.roms import Scores, human_normalized_score, published_scores
from simple_dqn.reports.run_tables import game_in, num_seeds

RESAMPLES = 10_000
HUMAN = 100.0
_OUTSIDE = (0.025, 0.975)  # of 95% of the resamples

Array = npt.NDArray[np.float64]
# For each game the scores of its seeds, (..., seeds); the leading axes are those of resamples.
OfGames = Sequence[Array]


class GameResult(NamedTuple):
    """What the seeds of one setting have reached in a game."""

    name: str  # of the runs, without the seed
    game: str | None  # None: it is unknown
    scores: Array  # mean score of each seed's last test, float64 (seeds,)
    mean: float  # over the seeds
    std: float  # over the seeds, with seeds - 1 in the denominator; nan of one seed
    steps: tuple[int, int]  # trained before the last test, the fewest and the most of a seed
    published: Scores | None  # in the literature
    # Trained before the first test in which the mean over all seeds reached a human's score.
    steps_to_human: int | None
    tests: pd.DataFrame  # scores of all tests: a row for a number of steps trained, a column a seed

    def normalized(self, score: Any) -> Any:
        """A score, or several, on the scale from random play to a human, in percent; or nan."""
        value = human_normalized_score(self.game or "", score)
        return nan if value is None else value


class Aggregate(NamedTuple):
    """A figure over all games, and the ends of its 95% interval, nan where there is none."""

    name: str
    value: float
    low: float
    high: float
    nature: float  # of the scores of Mnih et al. 2015 in the same games, nan where one is unknown


def result_of(name: str, rows: pd.DataFrame) -> GameResult | None:
    """Find what a group of `run_tables.group_runs` has reached; None: no last test has a score."""
    tests = rows[rows["phase"] == "test"].sort_values("epoch")
    last = tests.groupby(level="path").tail(1).sort_index()
    last = last.dropna(subset=["average_reward", "total_train_steps"])
    if last.empty:
        return None
    steps = last["total_train_steps"].astype(int)
    game = game_in(name)
    published = published_scores().get(game or "")
    human = published.human if published else inf
    by_epoch = tests.groupby("epoch")
    means = by_epoch[["average_reward", "total_train_steps"]].mean()
    means = means[by_epoch["average_reward"].count() == num_seeds(rows)]  # which all seeds reached
    at_human = means["total_train_steps"][means["average_reward"] >= human]
    return GameResult(
        name=name,
        game=game,
        scores=last["average_reward"].to_numpy(np.float64),
        mean=last["average_reward"].mean(),
        std=last["average_reward"].std(),
        steps=(steps.min(), steps.max()),
        published=published,
        steps_to_human=None if at_human.empty else int(at_human.iloc[0]),
        tests=tests.reset_index("path").pivot_table("average_reward", "total_train_steps", "path"),
    )


def aggregates(results: Sequence[GameResult]) -> list[Aggregate]:
    """Compute each of `AGGREGATES` over the games that have a scale; none: no game has one.

    There are intervals if each game has two seeds or more. The results are of different games.
    """
    known = [result for result in results if result.published]
    if not known:
        return []
    scores = [r.normalized(r.scores) for r in known]
    papers = [np.array([r.normalized(r.published.nature)]) for r in known if r.published]
    has_nature = not np.isnan(papers).any()
    found = []
    for figure in AGGREGATES:
        name = figure.__name__.replace("_", " ")
        low, high = interval(figure, scores)
        nature = float(figure(papers)) if has_nature else nan
        found.append(Aggregate(name, float(figure(scores)), float(low), float(high), nature))
    return found


def interval(figure: Callable[[OfGames], Array], scores: OfGames) -> Array:
    """The ends of a figure's 95% interval, float64 (2, ...); (2,) nan if a game has one seed.

    Agarwal et al. 2021, section 4.1: a percentile bootstrap whose strata are the games. As many
    seeds of each game as there are are drawn, with replacement, RESAMPLES times.
    """
    if min(map(len, scores)) < 2:
        return np.full(2, nan)
    rng = np.random.default_rng(0)
    resamples = [of[rng.integers(len(of), size=(RESAMPLES, len(of)))] for of in scores]
    return np.quantile(figure(resamples), _OUTSIDE, axis=0)


def over_training(results: Sequence[GameResult]) -> pd.DataFrame:
    """The interquartile mean of games that have a scale, `value`, and its interval, `low`, `high`.

    A row for each number of training steps after which all runs were tested.
    """
    tests = pd.concat({r.name: r.normalized(r.tests) for r in results}, axis=1).dropna()
    found = {}
    for steps, row in tests.iterrows():
        scores = [of_game.to_numpy() for _, of_game in row.groupby(level=0)]
        found[steps] = [interquartile_mean(scores), *interval(interquartile_mean, scores)]
    return pd.DataFrame.from_dict(found, "index", np.float64, ["value", "low", "high"])


def median(scores: OfGames) -> Array:
    """Median over the games of the mean over the seeds."""
    return np.asarray(np.median(_means(scores), axis=-1))


def mean(scores: OfGames) -> Array:
    """Mean over the games of the mean over the seeds."""
    return np.asarray(_means(scores).mean(axis=-1))


def interquartile_mean(scores: OfGames) -> Array:
    """Mean over all runs without the lowest and the highest quarter (section 4.3)."""
    runs = np.sort(np.concatenate(scores, axis=-1), axis=-1)  # (..., runs)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(axis=-1))


def optimality_gap(scores: OfGames) -> Array:
    """Mean over all runs of how far they are below a human, 0 for those above (section 4.3)."""
    return np.asarray(np.maximum(HUMAN - np.concatenate(scores, axis=-1), 0).mean(axis=-1))


def _means(scores: OfGames) -> Array:
    """The mean over the seeds of each game, (..., games)."""
    return np.stack([of_game.mean(axis=-1) for of_game in scores], axis=-1)


AGGREGATES = (median, mean, interquartile_mean, optimality_gap)
