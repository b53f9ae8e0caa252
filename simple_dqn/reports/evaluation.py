"""What runs have reached: per game over the seeds, and over all games.

The figures over all games, and the intervals that tell how far chance moves them, are those of
Agarwal et al. 2021 (Deep reinforcement learning at the edge of the statistical precipice). Scores
are human-normalized, in percent: 0 is random play, 100 a human.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from simple_dqn.environments.roms import Scores, human_normalized_score, published_scores

RESAMPLES = 10_000
HUMAN = 100.0
_OUTSIDE = (0.025, 0.975)  # of 95% of the resamples

Array = npt.NDArray[np.float64]
# For each game the scores of its seeds, (..., seeds); the leading axes are those of resamples.
OfGames = Sequence[Array]


class GameResult(NamedTuple):
    """What the seeds of one setting have reached in a game.

    Attributes:
        name: of the runs, without the seed.
        game: that they play; None: the name tells none.
        scores: mean score of each seed's last test, float64 (seeds,).
        steps: training steps before the last test: of the seed with the fewest, and with the most.
        published: scores in the literature; None: there are none.
        steps_to_human: training steps before the first test in which the mean over all seeds
            reached a human's score; None: it did not.
    """

    name: str
    game: str | None
    scores: Array
    steps: tuple[int, int]
    published: Scores | None
    steps_to_human: int | None

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(self.scores.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the seeds, with seeds - 1 in the denominator; nan of one seed."""
        return float(self.scores.std(ddof=1)) if len(self.scores) > 1 else float("nan")

    def normalized(self, score: float) -> float:
        """A score on the scale from random play to a human, in percent; nan where there is none."""
        value = human_normalized_score(self.game or "", score)
        return float("nan") if value is None else value


class Aggregate(NamedTuple):
    """A figure over all games, and the ends of its 95% interval, nan where there is none."""

    name: str
    value: float
    low: float
    high: float
    nature: float  # of the scores of Mnih et al. 2015 in the same games, nan where one is unknown


def result_of(name: str, game: str | None, rows: pd.DataFrame) -> GameResult | None:
    """Look for what the runs of one setting have reached.

    Args:
        name: of the runs.
        game: that they play.
        rows: of the runs, as `reports.curves.read_runs` returns them, with the columns
            `average_reward` and `total_train_steps`.

    Returns:
        The result; None: no seed's last test has a score.
    """
    tests = rows[rows["phase"] == "test"].sort_values("epoch")
    last = tests.groupby(level="path").tail(1).sort_index()
    last = last[last[["average_reward", "total_train_steps"]].notna().all(axis="columns")]
    if last.empty:
        return None
    steps = last["total_train_steps"].astype(int)
    published = published_scores().get(game or "")
    by_epoch = tests.groupby("epoch")
    whole = by_epoch["average_reward"].count() == rows.index.get_level_values("path").nunique()
    means = by_epoch[["average_reward", "total_train_steps"]].mean()[whole].dropna()
    human = np.inf if published is None else published.human
    there = means["total_train_steps"][means["average_reward"] >= human]
    return GameResult(
        name=name,
        game=game,
        scores=last["average_reward"].to_numpy(np.float64),
        steps=(steps.min(), steps.max()),
        published=published,
        steps_to_human=None if there.empty else int(there.iloc[0]),
    )


def aggregates(results: Sequence[GameResult]) -> list[Aggregate]:
    """Compute the figures over all games that have a scale.

    Args:
        results: of different games.

    Returns:
        One for each of `AGGREGATES`; none if no game has a scale. They have intervals if each game
        has two seeds or more: with one seed nothing tells what another would reach.
    """
    known = [result for result in results if result.published is not None]
    if not known:
        return []
    scores = [np.array([r.normalized(score) for score in r.scores]) for r in known]
    papers = [np.array([r.normalized(r.published.nature)]) for r in known if r.published]
    has_nature = not np.isnan(papers).any()
    has_intervals = min(len(of_game) for of_game in scores) > 1
    resamples = stratified_resamples(scores, np.random.default_rng(0)) if has_intervals else []
    found = []
    for name, aggregate in AGGREGATES.items():
        ends = np.full(2, np.nan)
        if has_intervals:
            ends = np.quantile(aggregate(resamples), _OUTSIDE)
        nature = float(aggregate(papers)) if has_nature else float("nan")
        value = float(aggregate(scores))
        found.append(Aggregate(name, value, float(ends[0]), float(ends[1]), nature))
    return found


def stratified_resamples(scores: OfGames, rng: np.random.Generator) -> list[Array]:
    """Draw as many seeds of each game as there are, with replacement, so often as RESAMPLES says.

    Agarwal et al. 2021, section 4.1: a percentile bootstrap whose strata are the games.

    Args:
        scores: float64 (seeds,) for each game.
        rng: source of the draws.

    Returns:
        float64 (RESAMPLES, seeds) for each game.
    """
    return [
        of_game[rng.integers(len(of_game), size=(RESAMPLES, len(of_game)))] for of_game in scores
    ]


def _means(scores: OfGames) -> Array:
    """The mean over the seeds of each game, (..., games)."""
    return np.stack([of_game.mean(axis=-1) for of_game in scores], axis=-1)


def median(scores: OfGames) -> Array:
    """Median over the games of the mean over the seeds."""
    middle: Array = np.median(_means(scores), axis=-1)
    return middle


def mean(scores: OfGames) -> Array:
    """Mean over the games of the mean over the seeds."""
    middle: Array = _means(scores).mean(axis=-1)
    return middle


def interquartile_mean(scores: OfGames) -> Array:
    """Mean over all runs without the lowest and the highest quarter (section 4.3)."""
    runs = np.sort(np.concatenate(scores, axis=-1), axis=-1)  # (..., runs)
    cut = runs.shape[-1] // 4
    middle: Array = runs[..., cut : runs.shape[-1] - cut].mean(axis=-1)
    return middle


def optimality_gap(scores: OfGames) -> Array:
    """Mean over all runs of what is missing to a human; what is above counts 0 (section 4.3)."""
    gap: Array = np.maximum(HUMAN - np.concatenate(scores, axis=-1), 0).mean(axis=-1)
    return gap


AGGREGATES: dict[str, Callable[[OfGames], Array]] = {
    "median": median,
    "mean": mean,
    "interquartile mean": interquartile_mean,
    "optimality gap": optimality_gap,
}
