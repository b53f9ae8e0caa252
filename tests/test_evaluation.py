"""Aggregates over games and seeds against slow references, and what counts as a run's result."""

import itertools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from helpers import write_run
from hypothesis import given
from hypothesis import strategies as st

from simple_dqn.environments.roms import published_scores
from simple_dqn.reports.evaluation import AGGREGATES, GameResult, aggregates, result_of
from simple_dqn.reports.run_tables import group_runs, read_run

Array = npt.NDArray[np.float64]
OF_GAMES = st.lists(
    st.lists(st.floats(-500, 5000, allow_subnormal=False), min_size=1, max_size=6),
    min_size=1,
    max_size=6,
)


def reference(name: str, games: list[list[float]]) -> float:
    """The formulas of Agarwal et al. 2021 and of rliable 1.2.0 (metrics.py), number by number."""
    runs = sorted(score for scores in games for score in scores)
    means = sorted(sum(scores) / len(scores) for scores in games)
    if name == "mean":
        return sum(means) / len(means)
    if name == "median":
        return (means[(len(means) - 1) // 2] + means[len(means) // 2]) / 2
    if name == "interquartile mean":
        cut = int(0.25 * len(runs))
        kept = runs[cut : len(runs) - cut]
        return sum(kept) / len(kept)
    return 100 - sum(min(score, 100) for score in runs) / len(runs)


@given(OF_GAMES)
def test_aggregates_are_those_of_the_slow_reference(games: list[list[float]]) -> None:
    scores = [np.array(of_game) for of_game in games]
    for figure in AGGREGATES:
        name = figure.__name__.replace("_", " ")
        expected = reference(name, games)
        assert float(figure(scores)) == pytest.approx(expected, rel=1e-10, abs=1e-8), name


def make_result(game: str, scores: list[float]) -> GameResult:
    published = published_scores().get(game)
    reached = np.array(scores), np.mean(scores), math.nan, (1, 1), published, None
    return GameResult(f"{game}_s", game, *reached, pd.DataFrame())


def test_intervals_are_quantiles_over_all_ways_to_draw() -> None:
    """Three games of three seeds are drawn in 27^3 ways, all equally likely."""
    results = [
        make_result("pong", [-20.0, 3.0, 18.0]),
        make_result("breakout", [5.0, 20.0, 41.0]),
        make_result("enduro", [100.0, 480.0, 900.0]),
    ]
    normalized = [[r.normalized(float(score)) for score in r.scores] for r in results]
    ways = [list(itertools.product(of_game, repeat=3)) for of_game in normalized]
    drawn = [list(map(list, games)) for games in itertools.product(*ways)]
    for found in aggregates(results):
        assert found.value == pytest.approx(reference(found.name, normalized))
        everything = np.array([reference(found.name, games) for games in drawn])
        low, high = np.quantile(everything, [0.025, 0.975])
        near = 0.06 * (high - low)
        assert found.low == pytest.approx(low, abs=near), found.name
        assert found.high == pytest.approx(high, abs=near), found.name
        assert found.low < found.value < found.high


def test_natures_figures_are_those_of_the_same_games() -> None:
    results = [make_result("pong", [1.0, 2.0]), make_result("breakout", [30.0, 30.0])]
    more = [make_result(game, [1.0, 2.0]) for game in ("enduro", "tennis", "qbert", "alien")]
    found = {aggregate.name: aggregate.nature for aggregate in aggregates(results)}
    pong, breakout = 100 * (18.9 + 20.7) / 35.3, 100 * 399.5 / 28.8
    assert found["mean"] == pytest.approx((pong + breakout) / 2)
    assert found["optimality gap"] == 0
    one_seed = aggregates([*results, make_result("tennis", [1.0])])
    assert all(math.isnan(found.low) and not math.isnan(found.value) for found in one_seed)
    results += [make_result("berzerk", [200.0, 300.0]), *more]  # Berzerk is not in Nature
    assert all(math.isnan(aggregate.nature) for aggregate in aggregates(results))


# Results of runs.


def result(*paths: Path) -> GameResult | None:
    fields = ["average_reward", "total_train_steps"]
    (group,) = group_runs({path: read_run(path, fields) for path in paths}, {}).values()
    return result_of("pong", group)


def test_the_last_test_of_each_seed_counts(tmp_path: Path) -> None:
    found = result(
        write_run(tmp_path / "pong_s1.csv", [-10, 15, 16]),
        write_run(tmp_path / "pong_s2.csv", [-14, 14, 20]),
    )
    assert found is not None
    assert found.scores.tolist() == [16, 20]
    assert found.steps == (150, 150)
    assert found.mean == 18
    assert found.std == pytest.approx(math.sqrt(2 * 2**2))  # about 18, divided by 2 - 1
    # 15 and 14 make 14.5, which is below a human's 14.6.
    assert found.steps_to_human == 150
    assert found.normalized(found.mean) == pytest.approx(100 * 38.7 / 35.3)
    # Human level is looked for where all seeds have been tested.
    found = result(
        write_run(tmp_path / "pong_s1.csv", [1, 20]), write_run(tmp_path / "pong_s2.csv", [2])
    )
    assert found is not None
    assert found.scores.tolist() == [20, 2]
    assert found.steps == (50, 100)
    assert found.steps_to_human is None


def test_a_test_without_a_finished_game_has_no_score(tmp_path: Path) -> None:
    first = write_run(tmp_path / "pong_s1.csv", [3, math.nan])
    second = write_run(tmp_path / "pong_s2.csv", [3, 4])
    assert result(first) is None
    assert result(write_run(tmp_path / "pong_s3.csv", [])) is None
    without_steps = tmp_path / "pong_s4.csv"
    without_steps.write_text("epoch,phase,average_reward,total_train_steps\n1,test,20,nan\n")
    assert result(without_steps) is None
    found = result(first, second)
    assert found is not None
    assert found.scores.tolist() == [4]
    assert math.isnan(found.std)


def test_natures_scores_give_the_percentages_of_its_figure_3() -> None:
    """With the human scores of extended data table 2, which are other ones than those of 2016."""
    for game, human, percent in (
        *(("video_pinball", 17_298, 2539), ("boxing", 4.3, 1707), ("breakout", 31.8, 1327)),
        *(("pong", 9.3, 132), ("tennis", -8.9, 143), ("up_n_down", 9082, 92)),
        *(("ice_hockey", 0.9, 79), ("seaquest", 20_182, 25), ("double_dunk", -15.5, 17)),
    ):
        scores = published_scores()[game]
        found = 100 * (scores.nature - scores.random) / (human - scores.random)
        assert found == pytest.approx(percent, abs=1), game
    known = [scores.nature for scores in published_scores().values()]
    assert sum(not math.isnan(nature) for nature in known) == 49
