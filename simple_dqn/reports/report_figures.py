"""The pictures of a report: a learning curve for each game, and the scores of all games as bars."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter

from simple_dqn.environments.roms import published_scores
from simple_dqn.reports import curves
from simple_dqn.reports.evaluation import HUMAN, Array, GameResult, OfGames, interval, over_training
from simple_dqn.reports.run_tables import Groups, game_in, num_seeds

_MOST_COLUMNS = 6
_SCORE = "human-normalized score, %"
_NATURE_COLOUR = "#999999"
_TICKS = (-100, 0, 25, 50, 75, 100, 200, 500, 1000, 2000, 5000)  # percent


def draw_curves(groups: Groups) -> Figure:
    """Draw a panel for each setting: scores over training steps, random play and a human."""
    num_columns = min(math.ceil(math.sqrt(len(groups))), _MOST_COLUMNS)
    num_rows = math.ceil(len(groups) / num_columns)
    figure = curves.new_figure(figsize=(max(4.2 * num_columns, 6), 3.0 * num_rows + 0.5))
    (style,) = curves.phase_styles(1)
    for position, (name, rows) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(num_rows, num_columns, position)
        curves.draw_panel(axes, "average_reward", {name: rows}, [style], "steps")
        seeds = num_seeds(rows)
        axes.set_title(f"{name}, {seeds} seed{'s' * (seeds > 1)}", fontsize=11, parse_math=False)
        if published := published_scores().get(game_in(name) or ""):
            curves.draw_human(axes, published.human)
    widest = max(groups, key=lambda name: num_seeds(groups[name]))
    curves.draw_legend(figure, {widest: groups[widest]}, [style])
    return figure


def draw_scores(results: Sequence[GameResult]) -> Figure:
    """Draw the human-normalized scores as bars, the highest on top, beside those of Nature's DQN.

    The picture is that of Mnih et al. 2015, figure 3, with DQN in the place of the linear learner.
    The axis is linear up to a human's 100% and logarithmic beyond. Games without published scores
    are left out.
    """
    known = sorted((r for r in results if r.published), key=lambda r: r.normalized(r.mean))
    figure = curves.new_figure(figsize=(9, 0.42 * len(known) + 1.4))
    axes = figure.add_subplot()
    middles = np.arange(len(known))
    ours = np.array([result.normalized(result.mean) for result in known])
    highs = np.array([result.normalized(result.mean + result.std) for result in known])
    spread = np.nan_to_num(highs - ours)  # in percent; 0 of one seed
    papers = np.array([r.normalized(r.published.nature) for r in known if r.published])
    label = "this report, with the standard deviation over its seeds"
    axes.barh(middles + 0.19, ours, 0.38, color=curves.PHASE_COLOURS["test"], label=label)
    axes.errorbar(ours, middles + 0.19, xerr=spread, fmt="none", ecolor="black", elinewidth=1)
    label = "DQN after 50 million steps (Mnih et al. 2015)"
    axes.barh(middles - 0.19, np.nan_to_num(papers), 0.38, color=_NATURE_COLOUR, label=label)
    axes.axvline(HUMAN, **curves.HUMAN_LINE)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=HUMAN, linscale=1.5)
    lowest, highest = axes.get_xlim()
    axes.set_xlim(min(lowest, 0), max(highest * 1.6, 1.5 * HUMAN))
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}%"))
    for middle, value, deviation in zip(middles, ours, spread, strict=True):
        end = max(value + deviation, 0), middle + 0.19
        place: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
        axes.annotate(f"{value:,.0f}%", end, xytext=(4, 0), fontsize=8, **place)
    axes.set_yticks(middles, [r.name for r in known], parse_math=False)
    axes.set_ylim(-0.6, len(known) - 0.4)
    curves.label_axes(axes, "", "human-normalized score: 0% is random play, 100% a human", "")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def draw_over_games(results: Sequence[GameResult]) -> Figure:
    """Draw the interquartile mean over training, and the share of the runs above each score.

    Agarwal et al. 2021, section 4; the bands are 95% intervals. All results have a scale.
    """
    figure = curves.new_figure(figsize=(11, 4.1))
    left, right = figure.subplots(1, 2)
    curve = over_training(results)
    scores = [result.normalized(result.scores) for result in results]
    thresholds = np.linspace(0, 1.05 * max(HUMAN, *map(np.max, scores)), 101)

    def share(scores: OfGames) -> Array:
        """The percentage of runs above the thresholds, all games alike, (..., thresholds)."""
        above = ((of_game[..., None] > thresholds).mean(axis=-2) for of_game in scores)
        return np.asarray(100 * sum(above) / len(scores))

    for axes, x, y, low, high in (
        (left, curve.index, curve["value"], curve["low"], curve["high"]),
        (right, thresholds, share(scores), *interval(share, scores)),
    ):
        axes.plot(x, y, color=curves.PHASE_COLOURS["test"])
        axes.fill_between(x, low, high, color=curves.PHASE_COLOURS["test"], alpha=0.2, linewidth=0)
    if curve.empty:
        left.text(0.5, 0.4, "no common number of steps", transform=left.transAxes, ha="center")
    left.axhline(HUMAN, **curves.HUMAN_LINE)
    right.axvline(HUMAN, **curves.HUMAN_LINE)
    left.xaxis.set_major_formatter(EngFormatter(sep=""))
    curves.label_axes(left, "Interquartile mean of the runs", "training steps", _SCORE)
    curves.label_axes(right, "Runs above a score", _SCORE, "% of the runs")
    left.legend(frameon=False, fontsize=9)
    return figure
