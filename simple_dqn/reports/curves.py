"""Learning curves: the CSV files that `statistics.py` writes → one picture.

One panel per CSV column, with epochs, steps, frames or hours to the right: random play as a dashed
line, the train and the test phase as curves. Files that differ only in their seed become one mean
curve in a band from the lowest to the highest seed; other files are laid over one another. A file
needs no more than the columns `epoch` and `phase` and the one to show, so those of the original
tool plot too.
"""

import difflib
import io
import itertools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from simple_dqn.environments.roms import game_names, human_normalized_score, published_scores
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


class XAxis(NamedTuple):
    """What runs to the right: its label, and the column and unit from which it is computed."""

    label: str
    column: str
    unit: float = 1.0


X_AXES = {
    "epochs": XAxis("epoch", "epoch"),
    "steps": XAxis("training steps", "total_train_steps"),
    "frames": XAxis("training frames", "total_train_steps"),  # times those of a step
    "hours": XAxis("hours", "total_time", 3600.0),
}
# The original's lowest and highest score of a phase in which no game ended: ±sys.maxint.
NO_GAME = 2**31 - 1
NO_VALUE = ("", "nan", "inf", "-inf")  # cells that leave a gap in the curve
# What tells one seed's file from another's: pong_seed1, pong-s2, pong_3, seed4.
SEED_SUFFIX = re.compile(r"(?:[_-]?seed[_-]?|(?:^|[_-])s|[_-])\d+$", re.IGNORECASE)

# Columns of training that the settings decide, so that seeds of one setting agree in them.
SETTLED = ("steps", "total_train_steps", "last_exploration_rate", "weight_updates")

# Okabe and Ito's colours, which colour-blind eyes tell apart as well.
SCORE_FIELDS = ("average_reward", "min_game_reward", "max_game_reward")
HUMAN_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.6, "color": "#000000"}

PHASE_COLOURS = {"random": "#555555", "train": "#E69F00", "test": "#0072B2"}
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKED_EPOCHS = 30  # up to here every point gets a marker

Style = dict[str, dict[str, Any]]  # by phase, the keyword arguments of matplotlib's lines
Groups = dict[str, pd.DataFrame]  # by name, the rows of the runs that share a curve


def read_runs(
    paths: Sequence[Path],
    fields: Sequence[str],
    settings: Mapping[Path, Mapping[str, object]] | None = None,
) -> pd.DataFrame:
    """Read the CSV files of runs into one table, one file below the other.

    Args:
        paths: At least one.
        fields: Column names that each file must have.
        settings: By file, the options of its run but for the seed, where they are known.

    Returns:
        One row for each phase of each epoch: the columns `phase` (text), `epoch` (int) and every
        other column of the files (float; nan for an empty cell, text and infinity), besides
        `frame_skip` (int), the frames of a step, which are Nature's 4 where no settings tell. The
        index levels `group` and `path` say whose row it is; the seeds of one setting are one group.

    Raises:
        UserError: A file cannot be read, is no CSV file of a run, has no row yet, lacks a field or
            has text in it.
    """
    return group_runs({path: read_run(path, fields) for path in paths}, settings or {})


def group_runs(
    runs: Mapping[Path, pd.DataFrame], settings: Mapping[Path, Mapping[str, object]]
) -> pd.DataFrame:
    """Put the tables of runs that `read_run` returned together, as `read_runs` says."""
    paths = list(runs)
    names = [_drawable(name) for name in group_names(paths)]
    tables = [
        rows.assign(frame_skip=_frame_skip(settings.get(path, {}))) for path, rows in runs.items()
    ]
    for group in {name for name in names if names.count(name) > 1}:
        members = [index for index, name in enumerate(names) if name == group]
        for index in members[1:]:
            pair = [members[0], index]
            options = [settings.get(paths[i]) for i in pair]
            if difference := _difference([tables[i] for i in pair], options):
                logger.warning(
                    "%s and %s differ in %s: they are no seeds of one setting, each is drawn alone",
                    paths[members[0]],
                    paths[index],
                    difference,
                )
                for member in members:
                    names[member] = _drawable(
                        f"{paths[member].resolve().parent.name}/{paths[member].stem}"
                    )
                break
    keys = list(zip(names, map(str, paths), strict=True))
    return pd.concat(tables, keys=keys, names=["group", "path"])


def _frame_skip(options: Mapping[str, object]) -> int:
    """The number of frames of a step; a step of other games than Atari's is one."""
    is_atari = options.get("environment", "ale") == "ale"
    return int(str(options.get("frame_skip", 4))) if is_atari else 1


def _drawable(name: str) -> str:
    """A file's name without what no font draws: what stands for a byte that is no UTF-8."""
    return name.encode(errors="replace").decode()


def _difference(
    tables: Sequence[pd.DataFrame], options: Sequence[Mapping[str, object] | None]
) -> str | None:
    """What tells that two runs had different settings: an option, or a column of training."""
    one, other = options
    if one is not None and other is not None:
        for name in sorted(one.keys() & other.keys()):
            if one[name] != other[name]:
                return name
    trained = [rows[rows["phase"] == "train"].set_index("epoch") for rows in tables]
    shared = trained[0].index.intersection(trained[1].index)
    for column in SETTLED:
        if all(column in rows for rows in trained):
            values = [rows.loc[shared, column].to_numpy() for rows in trained]
            if not np.allclose(values[0], values[1], equal_nan=True):
                return column
    return None


def group_names(paths: Sequence[Path]) -> list[str]:
    """Name each file's group: runs whose file names are equal but for the seed share one.

    A run on its own keeps its whole file name; a file called just `seed1.csv` goes by its folder.
    Files of the same name in two folders are no seeds: they go by their folders too.
    """
    names = [SEED_SUFFIX.sub("", path.stem) or path.resolve().parent.name for path in paths]
    folders = [path.resolve().parent.name for path in paths]
    if len(set(folders)) < len({path.resolve().parent for path in paths}):
        folders = [str(path.parent) for path in paths]
    twice = {
        name
        for name, path in zip(names, paths, strict=True)
        if sum(n == name and p.stem == path.stem for n, p in zip(names, paths, strict=True)) > 1
    }
    names = [
        f"{folder}/{name}" if name in twice else name
        for folder, name in zip(folders, names, strict=True)
    ]
    return [
        name
        if names.count(name) > 1 or "/" in name or SEED_SUFFIX.fullmatch(path.stem)
        else path.stem
        for name, path in zip(names, paths, strict=True)
    ]


def read_run(path: Path, fields: Sequence[str]) -> pd.DataFrame:
    """Read one CSV file, also while it is being written; see `read_runs`.

    A row that is not whole, as the last may be, is left out. Of a last row without its line end,
    the last number may be cut short and counts as missing. Of two rows for the same phase and
    epoch the later counts.
    """
    cells = _read_cells(path)
    if not {"epoch", "phase"} <= set(cells.columns):
        raise UserError(f"{path} has no columns 'epoch' and 'phase'; give the CSV file of a run")
    cells = cells[cells["phase"].isin(PHASES)]
    if cells.empty:
        raise UserError(f"{path}: nothing to plot yet; wait for the end of the run's first phase")
    numbers: pd.DataFrame = cells.apply(pd.to_numeric, errors="coerce").astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    for field in ("epoch", *fields):
        if field not in cells.columns:
            near = difflib.get_close_matches(field.lower(), cells.columns, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            known = ", ".join(column for column in cells.columns if column != "phase")
            raise UserError(f"{path} has no column '{field}'{hint}; choose from {known}")
        no_number = cells[field][numbers[field].isna()]
        if field != "epoch":
            no_number = no_number[~no_number.str.lower().isin(NO_VALUE)]
        for row, cell in no_number.items():
            raise UserError(
                f"{path}: {cell[:30]!r} in column '{field}', row {row}, is not a number; choose "
                "another field or mend the file"
            )
    for field in numbers.columns.intersection(["min_game_reward", "max_game_reward"]):
        numbers[field] = numbers[field].where(numbers[field].abs() < NO_GAME)
    table = numbers.assign(epoch=numbers["epoch"].astype(int), phase=cells["phase"])
    return table.drop_duplicates(["phase", "epoch"], keep="last")


def _read_cells(path: Path) -> pd.DataFrame:
    """Return the text of a CSV file's cells; the rows that are whole, numbered from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        last_whole_cell = max(text.rfind(","), text.rfind("\n")) + 1
        # The header is read as a row: a longer first row would else be taken for an index.
        table = pd.read_csv(
            io.StringIO(text[:last_whole_cell] or text),
            header=None,
            dtype=str,
            keep_default_na=False,
            engine="python",  # it alone tells an empty cell, "", from one that is missing, nan
            on_bad_lines="skip",
        )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name") from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty; give the CSV file of a run") from error
    except ValueError as error:
        raise UserError(f"{path} is not a CSV file; give the CSV file of a run") from error
    cells = table.set_axis(table.iloc[0], axis="columns")[1:]
    whole = cells.notna().all(axis="columns")
    num_rows = sum(not line.isspace() for line in io.StringIO(text)) - 1
    if num_broken := num_rows - whole.sum():
        logger.warning("%s: rows that are not whole are left out: %d", path, num_broken)
    return cells.loc[whole, ~cells.columns.duplicated(keep="last")]


def make_figure(
    runs: pd.DataFrame, *, fields: Sequence[str], x_axis: str = "epochs", smooth: int = 1
) -> Figure:
    """Draw one panel per field, left to right, top to bottom.

    Scores of one game stand beside that of a human where it was published. Scores of several games
    have no common scale: they are human-normalized (Mnih et al. 2015, Methods, Evaluation
    procedure) where that can be done for all, else the axis says that each game has its own.

    Args:
        runs: What `read_runs` returned for these fields.
        fields: Column names, at least one.
        x_axis: One of `X_AXES`; the runs have its column.
        smooth: Number of epochs, the latest ones, whose mean a point of a curve is.
    """
    groups: Groups = {str(name): rows for name, rows in runs.groupby(level="group", sort=False)}
    games = {game_of(name) for name in groups}
    several = len(games - {None}) > 1
    humans = {game: scores.human for game, scores in published_scores().items() if game in games}
    styles = phase_styles(len(groups))
    num_columns = min(2, len(fields))
    num_rows = math.ceil(len(fields) / num_columns)
    figure = Figure(dpi=130)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    FigureCanvasAgg(figure)  # attaches itself; pyplot and its global state stay out of this
    any_human = False
    for position, field in enumerate(fields, start=1):
        axes = figure.add_subplot(num_rows, num_columns, position)
        is_score = field in SCORE_FIELDS
        if is_score and several and games == humans.keys():
            normalized = _normalized(groups, field)
            draw_panel(axes, field, normalized, styles, x_axis=x_axis, smooth=smooth)
            axes.set_ylabel("human-normalized score, %")
            any_human |= draw_human(axes, 100)
        else:
            draw_panel(axes, field, groups, styles, x_axis=x_axis, smooth=smooth)
            if is_score and several:
                axes.set_ylabel("score, on each game's own scale")
            elif is_score and games == humans.keys():
                any_human |= draw_human(axes, *humans.values())
    figure.suptitle(_title(groups), fontsize=14, fontweight="bold", parse_math=False)
    entries, num_legend_columns = legend_entries(groups, styles, human=any_human)
    height = 3.3 * num_rows + 0.8 + 0.2 * len(entries) / num_legend_columns
    figure.set_size_inches(11 if num_columns == 2 else 9, height)
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


def plot_results(
    csv_paths: Sequence[Path],
    *,
    fields: Sequence[str],
    output: Path,
    dpi: int = 130,
    settings: Mapping[Path, Mapping[str, object]] | None = None,
    x_axis: str = "epochs",
    smooth: int = 1,
) -> None:
    """Write the learning curves of one or more runs as a picture.

    Args:
        csv_paths: The runs' files; seeds of one setting are averaged.
        fields: The columns to show.
        output: The picture: PNG, or by its suffix PDF or SVG. It is replaced in one go at the end,
            so that a failure leaves an earlier picture as it was.
        dpi: Pixels per inch of a PNG; the picture is 9 or 11 inches wide.
        settings: See `read_runs`.
        x_axis: See `make_figure`.
        smooth: See `make_figure`.

    Raises:
        UserError: A CSV file, a field or the output is not usable.
    """
    picture_format(output)  # a mistake is told before anything is read
    if not csv_paths or not fields:
        raise UserError("nothing to plot; name at least one CSV file and one field")
    paths = {path.resolve(): path for path in csv_paths}  # the same file twice is no second seed
    if output.resolve() in paths:
        raise UserError(f"{output} is the file to read; choose another name for the picture")
    columns = [*fields, X_AXES[x_axis].column]
    runs = read_runs(list(paths.values()), columns, settings)
    write_figure(make_figure(runs, fields=fields, x_axis=x_axis, smooth=smooth), output, dpi=dpi)


def picture_format(output: Path) -> str:
    """The format of a picture by its file's name: png (also without a suffix), pdf or svg.

    Raises:
        UserError: It is another format, or no name of a file.
    """
    suffix = output.suffix.lower() or ".png"
    if suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"cannot write {output}; choose a name that ends in .png, .pdf or .svg")
    if not output.name:  # . or /
        raise UserError(f"cannot write {output}: it is a folder; name a file")
    return suffix[1:]


def write_figure(figure: Figure, output: Path, *, dpi: int = 130) -> None:
    """Write a figure as a picture; `plot_results` tells the arguments.

    Raises:
        UserError: The picture cannot be written there.
    """
    picture = io.BytesIO()
    with rc_context({"pdf.fonttype": 42}):  # TrueType: many journals refuse Type 3
        figure.savefig(picture, format=picture_format(output), dpi=dpi)
    write_atomically(output, picture.getvalue())


def phase_styles(num_groups: int) -> list[Style]:
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


def game_of(name: str) -> str | None:
    """The game that the name of a run begins with; None: the name tells none.

    `space_invaders_s1` → `space_invaders`; `CartPole-v1_s2` → `CartPole-v1`.
    """
    name = name.split("/")[-1]
    if environment_id := re.match(r"\w*?-v\d+", name):
        return environment_id[0]
    games = [game for game in game_names() if re.match(rf"{game}([_-]|\d|$)", name, re.IGNORECASE)]
    return max(games, key=len, default=None)


def _normalized(groups: Groups, field: str) -> Groups:
    """Bring the scores of several games to one scale; 0 is random play, 100 a human."""
    brought = {}
    for name, rows in groups.items():
        game = game_of(name)
        assert game is not None
        scores = [human_normalized_score(game, score) for score in rows[field]]
        brought[name] = rows.assign(**{field: np.array(scores, np.float64)})
    return brought


def draw_panel(
    axes: Axes,
    field: str,
    groups: Groups,
    styles: Sequence[Style],
    *,
    x_axis: str = "epochs",
    smooth: int = 1,
) -> None:
    """Draw a column: each group's baseline and curves, titles, grid and ticks."""
    panel = PANELS.get(field, Panel(field, field))
    right = X_AXES[x_axis]
    ends = []
    for rows, style in zip(groups.values(), styles, strict=True):
        for phase in panel.phases:
            of_phase = rows[rows["phase"] == phase].sort_values("epoch")
            x = of_phase[right.column] / right.unit
            if x_axis == "frames":
                x = x * of_phase["frame_skip"]
            y = of_phase[field]
            if smooth > 1:
                mean = y.groupby(level="path").rolling(smooth, min_periods=1).mean()
                y = mean.droplevel(0).where(y.notna())
            by_epoch = of_phase.assign(x=x, y=y).groupby("epoch")
            curve = by_epoch["y"].agg(["mean", "min", "max"])  # over the runs with a value there
            curve.index = pd.Index(by_epoch["x"].mean())
            _draw_phase(axes, phase, curve, num_seeds(rows) > 1, style[phase])
            if phase != "random":
                ends.append(curve.index)
    positions = np.concatenate(ends)
    first, last = np.nanmin(positions, initial=np.inf), np.nanmax(positions, initial=-np.inf)
    if first > last:  # no position
        first = last = 1
    if x_axis == "epochs":
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        margin = max(0.5, 0.02 * (last - first))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        if x_axis != "hours":
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 50k, 2M
        first, margin = 0, 0.02 * last or 1
    axes.set_xlim(first - margin, last + margin)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(panel.title, fontsize=12, parse_math=False)
    axes.set_xlabel(right.label)
    axes.set_ylabel(panel.unit, parse_math=False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not any(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for line in axes.lines):
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center")


def _draw_phase(
    axes: Axes, phase: str, curve: pd.DataFrame, band: bool, style: dict[str, Any]
) -> None:
    """Draw one group's curve; of random play, which has the one epoch 0, a line right across."""
    mean = curve["mean"]
    if phase == "random":
        for baseline in mean.dropna()[-1:]:
            axes.axhline(baseline, **style)
        return
    marked = mean.notna()
    if len(mean) > MARKED_EPOCHS:  # only points between gaps, which no line would show
        marked &= mean.shift(1).isna() & mean.shift(-1).isna()
    axes.plot(mean.index, mean, marker="o", markersize=4, markevery=marked.tolist(), **style)
    if band:
        shade = {"color": style["color"], "alpha": 0.2 * style["alpha"], "linewidth": 0}
        axes.fill_between(curve.index, curve["min"], curve["max"], **shade)


def _title(groups: Groups) -> str:
    """Return the one group's summary, or what the names of several begin with."""
    if len(groups) == 1:
        return _summary(*next(iter(groups.items())))
    words = zip(*(re.split("[_-]", name) for name in groups), strict=False)
    shared = [column[0] for column in itertools.takewhile(lambda word: len(set(word)) == 1, words)]
    return "_".join(shared) or f"{len(groups)} runs compared"


def _summary(name: str, rows: pd.DataFrame) -> str:
    """Name a group, its seeds and its best test score: how well it went in one line."""
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


def draw_human(axes: Axes, human: float) -> bool:
    """Draw a human's score as a line, and return whether it is one.

    Where the line would leave the curves less than a quarter of the panel, the score is a text.
    """
    low, high = axes.get_ylim()
    if low - human <= 3 * (high - low) and human - high <= 3 * (high - low):
        axes.axhline(human, **HUMAN_LINE)
        return True
    # Learning curves rise, so they are seldom in these corners.
    place = axes.transAxes
    if human > high:
        axes.text(0.02, 0.96, f"human: {human:,g} ↑", va="top", transform=place, fontsize=9)
    else:
        axes.text(0.98, 0.04, f"human: {human:,g} ↓", ha="right", transform=place, fontsize=9)
    return False


def num_seeds(rows: pd.DataFrame) -> int:
    """The number of runs that a group has."""
    return rows.index.get_level_values("path").nunique()


def legend_entries(
    groups: Groups, styles: Sequence[Style], *, human: bool
) -> tuple[list[Artist], int]:
    """Return the legend's entries and its number of columns.

    One group: the phases in a line. Several: a column of groups by colour, one of phases in black.
    """
    style = styles[0]
    if len(groups) > 1:
        style = {phase: {**style[phase], "color": "black"} for phase in PHASES}
    present = {phase for rows in groups.values() for phase in rows["phase"]}
    labels = {"random": "random play", "train": "train", "test": "test"}
    phases: list[Artist] = [
        Line2D([], [], label=labels[phase], **style[phase]) for phase in PHASES if phase in present
    ]
    if any(num_seeds(rows) > 1 for rows in groups.values()):
        phases.append(Patch(color="#555555", alpha=0.25, label="lowest to highest seed"))
    if human:
        phases.append(Line2D([], [], label="human", **HUMAN_LINE))
    if len(groups) == 1:
        return phases, len(phases)
    names: list[Artist] = [
        Line2D([], [], label=_summary(name, rows), **style["test"])
        for (name, rows), style in zip(groups.items(), styles, strict=True)
    ]
    blank = Line2D([], [], linestyle="none", label=" ")  # matplotlib fills columns evenly
    short, long = sorted((names, phases), key=len)
    short.extend([blank] * (len(long) - len(short)))
    return names + phases, 2
