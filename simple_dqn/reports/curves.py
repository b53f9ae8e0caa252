"""Learning curves: the tables of runs (`run_tables.py`) → one picture.

One panel per column, with epochs, steps, frames or hours on the x axis: random play as a dashed
line, training and tests as curves. Seeds of one setting become one mean curve in a band from the
lowest to the highest seed; other runs are drawn over one another.
"""

import io
import itertools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from simple_dqn.environments.roms import human_normalized_score, published_scores
from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.reports.evaluation import interval, mean
from simple_dqn.reports.run_tables import PHASES, Groups, game_in, num_seeds

LEARNING = PHASES[1:]  # the phases of a column that says nothing of random play
Style = dict[str, dict[str, Any]]  # by phase, the keyword arguments of matplotlib's lines

SCORES = ("average_reward", "min_game_reward", "max_game_reward")

# By column: the panel's title, its y axis, the phases in which the column means something.
PANELS = {
    "steps": ("Steps in the phase", "steps", LEARNING),
    "nr_games": ("Games played", "games", PHASES),
    "average_reward": ("Average score per game", "score", PHASES),
    "min_game_reward": ("Lowest score of a game", "score", PHASES),
    "max_game_reward": ("Highest score of a game", "score", PHASES),
    "last_exploration_rate": ("Exploration rate at the phase's end", "ε", LEARNING),
    "total_train_steps": ("Training steps so far", "steps", LEARNING),
    "replay_memory_count": ("Screens in the replay memory", "screens", LEARNING),
    "meanq": ("Average max Q of held-out states", "Q-value", PHASES),
    "meancost": ("Average loss", "loss", ("train",)),  # the original writes 0 for a test
    "weight_updates": ("Weight updates so far", "updates", LEARNING),
    "total_time": ("Time since the start", "seconds", LEARNING),
    "epoch_time": ("Time of the phase", "seconds", LEARNING),
    "steps_per_second": ("Speed", "steps per second", PHASES),
    "dead_units": ("Hidden units that are 0 in all held-out states", "share", PHASES),
    "std_game_reward": ("Standard deviation of the games' scores", "score", PHASES),
}

# By name, an x axis's label and the column from which it is computed.
X_AXES = {
    "epochs": ("epoch", "epoch"),
    "steps": ("training steps", "total_train_steps"),
    "frames": ("training frames", "total_train_steps"),
    "hours": ("hours", "total_time"),
}

# By name, the band around the mean of several seeds: its words, and its ends for a point's values.
BANDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "range": ("lowest to highest seed", lambda y: (y.min(), y.max())),
    "stderr": ("standard error of the mean", lambda y: (y.mean() - y.sem(), y.mean() + y.sem())),
    "bootstrap": ("95% bootstrap interval", lambda y: interval(mean, [y.to_numpy()])),
}

PHASE_LINES: Style = {
    "random": {"label": "random play", "linestyle": "--", "linewidth": 1.3},
    "train": {"label": "train", "linewidth": 1.4},
    "test": {"label": "test", "linewidth": 2.0},
}
# Okabe and Ito's colours, which colour-blind people can tell apart.
PHASE_COLOURS = {"random": "#555555", "train": "#E69F00", "test": "#0072B2"}
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HUMAN_LINE: dict[str, Any] = {"label": "human", "ls": ":", "lw": 1.6, "color": "#000000"}
MARKED_EPOCHS = 30  # a longer curve has no markers


def make_figure(
    groups: Groups,
    *,
    fields: Sequence[str],
    x_axis: str = "epochs",
    smooth: int = 1,
    band: str = "range",
    title: str | None = None,
) -> Figure:
    """Draw one panel per field, left to right, top to bottom.

    A human's score is drawn beside the scores of a game for which one was published. Scores of
    several games have no common scale: they are human-normalized (Mnih et al. 2015, Methods,
    Evaluation procedure) if all games have a human's score; if not, the y axis says so.

    The groups have the columns `fields` and that of the x axis, one of `X_AXES`. A point is the
    mean of the latest `smooth` epochs; `band` is one of `BANDS`.
    """
    games = {game_in(name) for name in groups}
    several = len(games - {None}) > 1
    humans = {game: scores.human for game, scores in published_scores().items() if game in games}
    all_known = games == humans.keys()
    styles = phase_styles(len(groups))
    num_columns = min(2, len(fields))
    num_rows = math.ceil(len(fields) / num_columns)
    figure = new_figure()
    for position, field in enumerate(fields, start=1):
        axes = figure.add_subplot(num_rows, num_columns, position)
        is_score = field in SCORES
        normalize = is_score and several and all_known
        shown = _human_normalized(groups, field) if normalize else groups
        draw_panel(axes, field, shown, styles, x_axis, smooth, band)
        if normalize:
            axes.set_ylabel("human-normalized score, %")
            draw_human(axes, 100)
        elif is_score and several:
            axes.set_ylabel("score, on each game's own scale")
        elif is_score and all_known:
            draw_human(axes, *humans.values())
    figure.suptitle(title or _title(groups), fontsize=14, fontweight="bold", parse_math=False)
    legend_rows = draw_legend(figure, groups, styles, band)
    height = 3.3 * num_rows + 0.8 + 0.2 * legend_rows
    figure.set_size_inches(11 if num_columns == 2 else 9, height)
    return figure


def new_figure(**options: Any) -> Figure:
    """A figure without pyplot and its global state."""
    figure = Figure(dpi=130, **options)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return figure


def write_figure(figure: Figure, output: Path, *, dpi: int = 130) -> None:
    """Write a figure in the format of the file's ending, in one go; without an ending, as PNG."""
    picture = io.BytesIO()
    try:
        with rc_context({"pdf.fonttype": 42}):  # TrueType: many journals refuse Type 3
            figure.savefig(picture, format=output.suffix[1:].lower() or "png", dpi=dpi)
        write_atomically(output, picture.getvalue())
    except ValueError as error:
        raise UserError(
            f"cannot write {output}: {error}; name a .png, .pdf or .svg file"
        ) from error


def phase_styles(num_groups: int) -> list[Style]:
    """Each group's line style by phase: a colour for the phase, or one for the group."""
    if num_groups == 1:
        return [{p: {**line, "color": PHASE_COLOURS[p]} for p, line in PHASE_LINES.items()}]
    colours: Sequence[Any] = GROUP_COLOURS[:num_groups]
    if num_groups > len(colours):
        colours = list(colormaps["viridis"](np.linspace(0, 0.95, num_groups)))
    alphas = {"random": 0.45, "train": 0.45, "test": 1.0}
    return [
        {p: {**line, "color": colour, "alpha": alphas[p]} for p, line in PHASE_LINES.items()}
        for colour in colours
    ]


def _human_normalized(groups: Groups, field: str) -> Groups:
    """Bring the scores of several games to one scale; 0 is random play, 100 a human."""
    normalized = {}
    for name, rows in groups.items():
        scores = [human_normalized_score(game_in(name) or "", score) for score in rows[field]]
        normalized[name] = rows.assign(**{field: np.array(scores, np.float64)})
    return normalized


def draw_panel(
    axes: Axes,
    field: str,
    groups: Groups,
    styles: Sequence[Style],
    x_axis: str,
    smooth: int = 1,
    band: str = "range",
) -> None:
    """Draw a column: each group's baseline and curves, titles, grid and ticks."""
    title, unit, phases = PANELS.get(field, (field, field, PHASES))
    label, column = X_AXES[x_axis]
    for rows, style in zip(groups.values(), styles, strict=True):
        for phase in phases:
            of_phase = rows[rows["phase"] == phase].sort_values("epoch")
            x = of_phase[column] / (3600 if x_axis == "hours" else 1)
            if x_axis == "frames":
                x = x * of_phase["frame_skip"]
            y = of_phase[field]
            if smooth > 1:
                mean = y.groupby(level="path").rolling(smooth, min_periods=1).mean()
                y = mean.droplevel(0).where(y.notna())
            by_epoch = of_phase.assign(x=x, y=y).groupby("epoch")
            curve = by_epoch[["x", "y"]].mean()  # over the runs with a value there
            ends = [BANDS[band][1](of_epoch.dropna()) for _, of_epoch in by_epoch["y"]]
            curve[["low", "high"]] = np.reshape(ends, (-1, 2))
            _draw_phase(axes, phase, curve, num_seeds(rows) > 1, style[phase])
    axes.margins(x=0.03)
    if x_axis == "epochs":
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        if x_axis != "hours":
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 50k, 2M
    axes.ticklabel_format(axis="y", useOffset=False)
    label_axes(axes, title, label, unit)
    if axes.dataLim.height < 0:  # nothing was drawn
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center")


def label_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Give a panel its words and a light grid."""
    axes.set_title(title, fontsize=12, parse_math=False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label, parse_math=False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_phase(
    axes: Axes, phase: str, curve: pd.DataFrame, band: bool, style: dict[str, Any]
) -> None:
    """Draw one group's curve; of random play, which has only epoch 0, a line right across."""
    height, x = curve["y"], curve["x"]
    if phase == "random":
        for baseline in height.dropna()[-1:]:
            axes.axhline(baseline, **style)
        return
    marked = height.notna()
    if len(height) > MARKED_EPOCHS:  # only points between gaps, which no line would show
        marked &= height.shift(1).isna() & height.shift(-1).isna()
    axes.plot(x, height, marker="o", markersize=4, markevery=marked.tolist(), **style)
    if band:
        alpha = 0.2 * style.get("alpha", 1.0)
        low, high = curve["low"], curve["high"]
        axes.fill_between(x, low, high, color=style["color"], alpha=alpha, linewidth=0)


def _title(groups: Groups) -> str:
    """Return the one group's summary, or what the names of several begin with."""
    if len(groups) == 1:
        return _summary(*next(iter(groups.items())))
    words = zip(*(re.split("[_-]", name.split("/")[-1]) for name in groups), strict=False)
    shared = [column[0] for column in itertools.takewhile(lambda word: len(set(word)) == 1, words)]
    return "_".join(shared) or f"{len(groups)} runs compared"


def _summary(name: str, rows: pd.DataFrame) -> str:
    """A group's name, its number of seeds and its best test score, in one line."""
    parts = [name if len(name) <= 40 else name[:39] + "…"]
    if num_seeds(rows) > 1:
        parts.append(f"mean of {num_seeds(rows)} seeds")
    if "average_reward" in rows:
        by_epoch = rows[rows["phase"] == "test"].groupby("epoch")["average_reward"]
        means = by_epoch.mean()[by_epoch.count() == num_seeds(rows)]  # which every seed reached
        if not means.empty:
            score = f"{means.max():,.{2 if abs(means.max()) < 10 else 1}f}"
            parts.append(f"best test score {score} (epoch {means.idxmax()})")
    return ", ".join(parts)


def draw_human(axes: Axes, human: float) -> None:
    """Draw a human's score as a line, or write it if curves would get less than a quarter."""
    low, high = axes.get_ylim()
    if low - human <= 3 * (high - low) and human - high <= 3 * (high - low):
        axes.axhline(human, **HUMAN_LINE)
        return
    # Learning curves rise, so they are seldom in these corners.
    x, y, side, arrow = (0.02, 0.92, "left", "↑") if human > high else (0.98, 0.04, "right", "↓")
    axes.text(x, y, f"human: {human:,g} {arrow}", ha=side, transform=axes.transAxes, fontsize=9)


def draw_legend(
    figure: Figure, groups: Groups, styles: Sequence[Style], band: str = "range"
) -> float:
    """Draw the legend below the panels; return its number of rows.

    One group: the phases in a line. Several: a column of groups by colour, one of phases in black.
    """
    black = {"color": "black"} if len(groups) > 1 else {}
    present = {phase for rows in groups.values() for phase in rows["phase"]}
    phases: list[Artist] = [
        Line2D([], [], **style | black) for phase, style in styles[0].items() if phase in present
    ]
    if any(num_seeds(rows) > 1 for rows in groups.values()):
        phases.append(Patch(color="#555555", alpha=0.25, label=BANDS[band][0]))
    if any(line.get_label() == "human" for axes in figure.axes for line in axes.lines):
        phases.append(Line2D([], [], **HUMAN_LINE))
    entries, columns = phases, len(phases)
    if len(groups) > 1:
        names: list[Artist] = [
            Line2D([], [], **style["test"] | {"label": _summary(name, rows)})
            for (name, rows), style in zip(groups.items(), styles, strict=True)
        ]
        blank = Line2D([], [], linestyle="none", label=" ")  # matplotlib fills columns evenly
        short, long = sorted((names, phases), key=len)
        short.extend([blank] * (len(long) - len(short)))
        entries, columns = names + phases, 2
    place: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": 9}
    for text in figure.legend(handles=entries, ncols=columns, **place).get_texts():
        text.set_parse_math(False)
    return len(entries) / columns
