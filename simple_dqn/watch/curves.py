"""Learning curves: the CSV files that `statistics.py` writes → one picture.

One panel per CSV column, epochs to the right: random play as a dashed line, the train and the test
phase as curves. Files that differ only in their seed become one mean curve in a band from the
lowest to the highest seed; other files are laid over one another. A file needs no more than the
columns `epoch` and `phase` and the one to show, so those of the original tool plot too.
"""

import csv
import difflib
import io
import itertools
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically

logger = logging.getLogger(__name__)

PHASES = ("random", "train", "test")
LEARNING = PHASES[1:]  # for a column in which random play is no yardstick


class Panel(NamedTuple):
    """How a column is shown: its title, its y axis, the phases in which it means something."""

    title: str
    unit: str
    phases: tuple[str, ...] = PHASES


PANELS = {
    "steps": Panel("Steps in the phase", "steps", LEARNING),
    "nr_games": Panel("Games played", "games"),
    "average_reward": Panel("Average score per game", "score"),
    "min_game_reward": Panel("Lowest score of a game", "score"),
    "max_game_reward": Panel("Highest score of a game", "score"),
    "last_exploration_rate": Panel("Exploration rate at the phase's end", "ε", LEARNING),
    "total_train_steps": Panel("Training steps so far", "steps", LEARNING),
    "replay_memory_count": Panel("Screens in the replay memory", "screens", LEARNING),
    "meanq": Panel("Average max Q of held-out states", "Q-value"),
    "meancost": Panel("Average loss", "loss", ("train",)),  # the original writes 0 for a test
    "weight_updates": Panel("Weight updates so far", "updates", LEARNING),
    "total_time": Panel("Time since the start", "seconds", LEARNING),
    "epoch_time": Panel("Time of the phase", "seconds", LEARNING),
    "steps_per_second": Panel("Speed", "steps per second"),
    "std_game_reward": Panel("Standard deviation of the games' scores", "score"),
}
# The original's lowest and highest score of a phase in which no game ended: ±sys.maxint.
NO_GAME = 2**31 - 1
# What tells one seed's file from another's: pong_seed1, pong-s2, pong_3, seed4.
SEED_SUFFIX = re.compile(r"(?:[_-]?seed[_-]?|(?:^|[_-])s|[_-])\d+$", re.IGNORECASE)

# Okabe and Ito's colours, which colour-blind eyes tell apart as well.
PHASE_COLOURS = {"random": "#555555", "train": "#E69F00", "test": "#0072B2"}
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKED_EPOCHS = 30  # up to here every point gets a marker

Style = dict[str, dict[str, Any]]  # by phase, the keyword arguments of matplotlib's lines


class Run(NamedTuple):
    """One CSV file: its columns, and the cells of each (phase, epoch) by column."""

    path: Path
    columns: list[str]
    rows: dict[tuple[str, int], dict[str, str]]

    def values(self, field: str, phase: str) -> dict[int, float]:
        """Return a column's values in one phase by epoch; an empty cell is nan.

        Raises:
            UserError: There is no such column, or it holds something else than numbers.
        """
        if field not in self.columns:
            near = difflib.get_close_matches(field.lower(), self.columns, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            known = ", ".join(column for column in self.columns if column != "phase")
            raise UserError(f"{self.path} has no column '{field}'{hint}; choose from {known}")
        values = {}
        for (row_phase, epoch), cells in self.rows.items():
            try:
                value = float(cells[field] or "nan")
            except ValueError:
                raise UserError(
                    f"{self.path}: {cells[field][:30]!r} in column '{field}', epoch {epoch}, is "
                    "not a number; choose another field or mend the file"
                ) from None
            if field in ("min_game_reward", "max_game_reward") and abs(value) >= NO_GAME:
                value = math.nan
            if row_phase == phase:
                values[epoch] = value
        return values


class Group(NamedTuple):
    """The runs that share a curve: one, or the seeds of one setting."""

    name: str
    runs: list[Run]


class Curve(NamedTuple):
    """A column over its epochs, each array float64 (epochs,); nan where no run has a value."""

    epochs: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def read_run(path: Path) -> Run:
    """Read one CSV file, also while it is being written.

    A row that is not whole, as the last may be, is left out. Of a last row without its line end,
    the last number may be cut short and counts as missing. Of two rows for the same phase and
    epoch the later counts.

    Raises:
        UserError: The file cannot be read, is no CSV file of a run, or has no row yet.
    """
    columns, *lines = _read_table(path)
    if not {"epoch", "phase"} <= set(columns):
        raise UserError(f"{path} has no columns 'epoch' and 'phase'; give the CSV file of a run")
    rows = {}
    for number, line in enumerate(lines, start=1):
        cells = dict(zip(columns, line, strict=False))
        if len(line) != len(columns):
            logger.warning("%s: row %d is not whole and is left out", path, number)
        elif cells["phase"] in PHASES:
            try:
                rows[cells["phase"], int(float(cells["epoch"]))] = cells
            except (ValueError, OverflowError):
                raise UserError(
                    f"{path}: {cells['epoch'][:30]!r} in row {number} is no epoch; mend the file"
                ) from None
    if not rows:
        raise UserError(f"{path}: nothing to plot yet; wait for the end of the run's first phase")
    return Run(path, columns, rows)


def _read_table(path: Path) -> list[list[str]]:
    """Return a CSV file's cells by line, the header first.

    Without its line end the last cell may be cut short; it is emptied.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        table = [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file; give the CSV file of a run") from error
    if not table:
        raise UserError(f"{path} is empty; give the CSV file of a run")
    if len(table) > 1 and not text.endswith(("\n", "\r")):
        table[-1][-1] = ""
    return table


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Put runs whose file names are equal but for the seed together, in order of appearance.

    A run on its own keeps its whole file name; a file called just `seed1.csv` goes by its folder.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        name = SEED_SUFFIX.sub("", run.path.stem) or run.path.resolve().parent.name
        groups.setdefault(name, []).append(run)
    named = []
    for name, group in groups.items():
        stem = group[0].path.stem
        named.append(Group(name if len(group) > 1 or SEED_SUFFIX.fullmatch(stem) else stem, group))
    return named


def average(runs: Sequence[Run], field: str, phase: str) -> Curve:
    """Average a column over runs, at each epoch over those that have a finite value there."""
    curves = [run.values(field, phase) for run in runs]
    epochs = sorted({epoch for curve in curves for epoch in curve})
    points = []
    for epoch in epochs:
        values = [v for curve in curves if math.isfinite(v := curve.get(epoch, math.nan))]
        mean = sum(values) / len(values) if values else math.nan
        points.append((mean, min(values, default=math.nan), max(values, default=math.nan)))
    mean_low_high = np.array(points, dtype=np.float64).reshape(-1, 3).T
    return Curve(np.array(epochs, dtype=np.float64), *mean_low_high)


def make_figure(runs: Sequence[Run], *, fields: Sequence[str]) -> Figure:
    """Draw one panel per field, left to right, top to bottom.

    Args:
        runs: At least one.
        fields: Column names, at least one.

    Raises:
        UserError: A run lacks a field, or has text in it.
    """
    groups = group_runs(runs)
    styles = _styles(len(groups))
    num_columns = min(2, len(fields))
    num_rows = math.ceil(len(fields) / num_columns)
    entries, num_legend_columns = _legend(groups, styles)
    height = 3.3 * num_rows + 0.8 + 0.2 * len(entries) / num_legend_columns
    figure = Figure(figsize=(11 if num_columns == 2 else 9, height), dpi=130)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    FigureCanvasAgg(figure)  # attaches itself; pyplot and its global state stay out of this
    for position, field in enumerate(fields, start=1):
        _draw_panel(figure.add_subplot(num_rows, num_columns, position), field, groups, styles)
    figure.suptitle(_title(groups), fontsize=14, fontweight="bold", parse_math=False)
    legend = figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=num_legend_columns,
        frameon=False,
        fontsize=9 if len(groups) > 1 else 10,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def plot_results(csv_paths: Sequence[Path], *, fields: Sequence[str], output: Path) -> None:
    """Write the learning curves of one or more runs as a picture.

    Args:
        csv_paths: The runs' files; seeds of one setting are averaged.
        fields: The columns to show.
        output: The picture: PNG, or by its suffix PDF or SVG. It is replaced in one go at the end,
            so that a failure leaves an earlier picture as it was.

    Raises:
        UserError: A CSV file, a field or the output is not usable.
    """
    suffix = output.suffix.lower() or ".png"
    if suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"cannot write {output}; choose a name that ends in .png, .pdf or .svg")
    if not output.name:  # . or /
        raise UserError(f"cannot write {output}: it is a folder; name a file")
    if not csv_paths or not fields:
        raise UserError("nothing to plot; name at least one CSV file and one field")
    paths = {path.resolve(): path for path in csv_paths}  # the same file twice is no second seed
    if output.resolve() in paths:
        raise UserError(f"{output} is the file to read; choose another name for the picture")
    figure = make_figure([read_run(path) for path in paths.values()], fields=fields)
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:])
    write_atomically(output, picture.getvalue())


def _styles(num_groups: int) -> list[Style]:
    """Return each group's line style by phase: a colour for the phase, or one for the group."""
    colours: list[Any] = list(GROUP_COLOURS)
    if num_groups > len(colours):
        colours = list(colormaps["viridis"](np.linspace(0, 0.95, num_groups)))
    styles = []
    for colour in colours[:num_groups]:
        style: Style = {
            "random": {"linestyle": "--", "linewidth": 1.3},
            "train": {"linewidth": 1.4},
            "test": {"linewidth": 2.0},
        }
        for phase in PHASES:
            style[phase]["color"] = PHASE_COLOURS[phase] if num_groups == 1 else colour
            style[phase]["alpha"] = 1.0 if num_groups == 1 or phase == "test" else 0.45
        styles.append(style)
    return styles


def _draw_panel(axes: Axes, field: str, groups: Sequence[Group], styles: Sequence[Style]) -> None:
    """Draw a column: each group's baseline and curves, titles, grid and ticks."""
    panel = PANELS.get(field, Panel(field, field))
    for (_, runs), style in zip(groups, styles, strict=True):
        for phase in panel.phases:
            _draw_phase(axes, phase, average(runs, field, phase), len(runs) > 1, style[phase])
    rows = [row for _, runs in groups for run in runs for row in run.rows]
    epochs = [epoch for phase, epoch in rows if phase != "random"] or [1]
    margin = max(0.5, 0.02 * (max(epochs) - min(epochs)))
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(panel.title, fontsize=12, parse_math=False)
    axes.set_xlabel("epoch")
    axes.set_ylabel(panel.unit, parse_math=False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not any(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for line in axes.lines):
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center")


def _draw_phase(axes: Axes, phase: str, curve: Curve, band: bool, style: dict[str, Any]) -> None:
    """Draw one group's curve; of random play, which has the one epoch 0, a line right across."""
    finite = np.isfinite(curve.mean)
    if phase == "random":
        for baseline in curve.mean[finite][-1:]:
            axes.axhline(baseline, **style)
        return
    beside = np.pad(finite, 1)
    alone = finite & ~beside[:-2] & ~beside[2:]  # between gaps: no line would show these
    marked = finite if finite.size <= MARKED_EPOCHS else alone
    axes.plot(
        curve.epochs, curve.mean, marker="o", markersize=4, markevery=marked.tolist(), **style
    )
    if band:
        shade = {"color": style["color"], "alpha": 0.2 * style["alpha"], "linewidth": 0}
        axes.fill_between(curve.epochs, curve.low, curve.high, **shade)


def _title(groups: Sequence[Group]) -> str:
    """Return the one group's summary, or what the names of several begin with."""
    if len(groups) == 1:
        return _summary(groups[0])
    words = zip(*(re.split("[_-]", group.name) for group in groups), strict=False)
    shared = [column[0] for column in itertools.takewhile(lambda word: len(set(word)) == 1, words)]
    return "_".join(shared) or f"{len(groups)} runs compared"


def _summary(group: Group) -> str:
    """Name a group, its seeds and its best test score: how well it went in one line."""
    name, runs = group
    parts = [name if len(name) <= 40 else name[:39] + "…"]
    if len(runs) > 1:
        parts.append(f"mean of {len(runs)} seeds")
    if all("average_reward" in run.columns for run in runs):
        scores = [run.values("average_reward", "test") for run in runs]
        reached = sorted(set(scores[0]).intersection(*scores[1:]))  # by every seed
        means = {epoch: sum(score[epoch] for score in scores) / len(runs) for epoch in reached}
        means = {epoch: mean for epoch, mean in means.items() if math.isfinite(mean)}
        if means:
            epoch = max(means, key=lambda epoch: means[epoch])
            score = f"{means[epoch]:,.{2 if abs(means[epoch]) < 10 else 1}f}"
            parts.append(f"best test score {score} (epoch {epoch})")
    return ", ".join(parts)


def _legend(groups: Sequence[Group], styles: Sequence[Style]) -> tuple[list[Artist], int]:
    """Return the legend's entries and its number of columns.

    One group: the phases in a line. Several: a column of groups by colour, one of phases in black.
    """
    style = styles[0]
    if len(groups) > 1:
        style = {phase: {**style[phase], "color": "black"} for phase in PHASES}
    present = {phase for group in groups for run in group.runs for phase, _ in run.rows}
    labels = {"random": "random play", "train": "train", "test": "test"}
    phases: list[Artist] = [
        Line2D([], [], label=labels[phase], **style[phase]) for phase in PHASES if phase in present
    ]
    if any(len(group.runs) > 1 for group in groups):
        phases.append(Patch(color="#555555", alpha=0.25, label="lowest to highest seed"))
    if len(groups) == 1:
        return phases, len(phases)
    names: list[Artist] = [
        Line2D([], [], label=_summary(group), **style["test"])
        for group, style in zip(groups, styles, strict=True)
    ]
    blank = Line2D([], [], linestyle="none", label=" ")  # matplotlib fills columns evenly
    short, long = sorted((names, phases), key=len)
    short.extend([blank] * (len(long) - len(short)))
    return names + phases, 2
