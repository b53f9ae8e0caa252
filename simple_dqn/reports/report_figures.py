"""The pictures of a report: a learning curve for each game, and the scores of all games as bars."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from simple_dqn.environments.roms import published_scores
from simple_dqn.reports.curves import (
    HUMAN_LINE,
    PHASE_COLOURS,
    Groups,
    draw_human,
    draw_panel,
    game_of,
    legend_entries,
    num_seeds,
    phase_styles,
)
from simple_dqn.reports.evaluation import HUMAN, GameResult

_MOST_COLUMNS = 6
_NATURE_COLOUR = "#999999"
_TICKS = (-100, 0, 25, 50, 75, 100, 200, 500, 1000, 2000, 5000)  # percent


def draw_curves(groups: Groups) -> Figure:
    """Draw a panel for each setting: scores over training steps, random play and a human.

    Args:
        groups: by name, the rows of the seeds of a setting; see `curves.read_runs`.
    """
    num_columns = min(math.ceil(math.sqrt(len(groups))), _MOST_COLUMNS)
    num_rows = math.ceil(len(groups) / num_columns)
    figure = _figure(max(4.2 * num_columns, 6), 3.0 * num_rows + 0.5)
    (style,) = phase_styles(1)
    any_human = False
    for position, (name, rows) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(num_rows, num_columns, position)
        draw_panel(axes, "average_reward", {name: rows}, [style], x_axis="steps")
        seeds = num_seeds(rows)
        axes.set_title(f"{name}, {seeds} seed{'s' * (seeds > 1)}", fontsize=11, parse_math=False)
        published = published_scores().get(game_of(name) or "")
        if published is not None:
            any_human |= draw_human(axes, published.human)
    widest = max(groups, key=lambda name: num_seeds(groups[name]))
    entries, _ = legend_entries({widest: groups[widest]}, [style], human=any_human)
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=3 if num_columns == 1 else len(entries),
        frameon=False,
    )
    return figure


def draw_scores(results: Sequence[GameResult]) -> Figure:
    """Draw the human-normalized scores as bars, the highest on top, beside those of Nature's DQN.

    The picture is that of Mnih et al. 2015, figure 3, with DQN in the place of the linear learner.
    The axis is linear up to a human's 100% and logarithmic beyond.

    Args:
        results: of the games; those without published scores are left out.
    """
    known = sorted((r for r in results if r.published), key=lambda r: r.normalized(r.mean))
    figure = _figure(9, 0.42 * len(known) + 1.4)
    axes = figure.add_subplot()
    middles = np.arange(len(known))
    ours = np.array([result.normalized(result.mean) for result in known])
    spread = [_spread(result) for result in known]
    papers = np.array([r.normalized(r.published.nature) for r in known if r.published])
    axes.barh(
        middles + 0.19,
        ours,
        0.38,
        xerr=spread,
        color=PHASE_COLOURS["test"],
        error_kw={"elinewidth": 1},
        label="this report, with the standard deviation over its seeds",
    )
    axes.barh(
        middles - 0.19,
        np.nan_to_num(papers),
        0.38,
        color=_NATURE_COLOUR,
        label="DQN after 50 million steps (Mnih et al. 2015)",
    )
    axes.axvline(HUMAN, **HUMAN_LINE, label="human")
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=HUMAN, linscale=1.5)
    lowest, highest = axes.get_xlim()
    axes.set_xlim(min(lowest, 0), max(highest * 1.6, 1.5 * HUMAN))
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}%"))
    for middle, value, deviation in zip(middles, ours, spread, strict=True):
        axes.annotate(
            f"{value:,.0f}%",
            (max(value + deviation, 0), middle + 0.19),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(middles, [r.name for r in known], parse_math=False)
    axes.set_ylim(-0.6, len(known) - 0.4)
    axes.set_xlabel("human-normalized score: 0% is random play, 100% a human")
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def _spread(result: GameResult) -> float:
    """The standard deviation over the seeds in percent; 0 of one seed."""
    deviation = result.normalized(result.mean + result.std) - result.normalized(result.mean)
    return 0.0 if math.isnan(deviation) else deviation


def _figure(width: float, height: float) -> Figure:
    """A figure without pyplot and its global state."""
    figure = Figure(figsize=(width, height), dpi=130)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    FigureCanvasAgg(figure)  # attaches itself
    return figure
