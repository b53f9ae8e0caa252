"""`report RESULTS_FOLDER`: what the runs of a folder have reached, in a table and two pictures."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

import pandas as pd

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import options_of_runs
from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.reports.curves import game_of, group_runs, picture_format, read_run, write_figure
from simple_dqn.reports.evaluation import Aggregate, GameResult, aggregates, result_of
from simple_dqn.reports.report_figures import draw_curves, draw_scores

logger = logging.getLogger(__name__)

_FIELDS = ("average_reward", "total_train_steps")
_TITLE = "# Results of "
_COLUMNS = (
    *("run", "game", "seeds", "steps", "random", "human", "nature", "mean", "std"),
    *("human_normalized", "low", "high", "steps_to_human"),
)
_NOTES = """\
Mean and std are over the seeds' last tests; std has seeds - 1 in its denominator."""
_NOTES_ON_HUMANS = """\
Random and human are the scores of Wang et al. 2016. Nature is DQN after 50,000,000 steps (Mnih et
al. 2015). On the human-normalized scale 0% is random play and 100% a human. A run has come to human
level with the first test in which the mean over its seeds is at least a human's score."""
_NOTES_ON_AGGREGATES = """\
Median and mean are over the games' means; the interquartile mean is over all runs but the lowest
and the highest quarter; the optimality gap is what the runs lack to 100% on average, so that less
is better. The intervals are those of 95% of 10,000 stratified bootstrap resamples of the seeds
(Agarwal et al. 2021)."""


def report(results_folder: Path, output: Path | None) -> None:
    """Write the table as Markdown and CSV and draw two pictures; write the table and all names.

    Args:
        results_folder: folder with the CSV files of runs.
        output: name of the pictures, and without its ending of the tables; None: `report.png` in
            the folder.

    Raises:
        UserError: no run in the folder has been tested, or a file cannot be written or is none
            that this command wrote.
    """
    output = output or results_folder / "report.png"
    ending = f".{picture_format(output)}"
    stem = output.name.removesuffix(output.suffix)
    table, page = (output.with_name(stem + suffix) for suffix in (".csv", ".md"))
    _refuse_to_replace(table, ",".join(_COLUMNS))
    _refuse_to_replace(page, _TITLE)
    groups = _read(results_folder)
    found = [result_of(name, game_of(name), rows) for name, rows in groups.items()]
    results = [result for result in found if result is not None]
    if not results:
        raise UserError(
            f"no run in {results_folder} has been tested yet; give the folder of CSV files of runs"
        )
    for name in groups.keys() - {result.name for result in results}:
        logger.warning("%s has no score in its last test and is left out", name)
    over_games = _over_games(results)
    text = _markdown(results_folder, results, over_games)
    write_atomically(page, text.encode())
    write_atomically(table, _csv(results, over_games).encode())
    curves = output.with_name(f"{stem}_curves{ending}")
    write_figure(draw_curves({result.name: groups[result.name] for result in results}), curves)
    written = [page, table, curves]
    if any(result.published for result in results):
        bars = output.with_name(f"{stem}_scores{ending}")
        write_figure(draw_scores(results), bars)
        written.append(bars)
    streams.write(text + "\n" + "".join(f"{path}\n" for path in written))


def _refuse_to_replace(path: Path, beginning: str) -> None:
    """Stop if a file is there that no report wrote.

    Raises:
        UserError: so it is.
    """
    if path.exists() and not _begins(path, beginning):
        raise UserError(f"{path} is there and is no earlier report; give --output FILE")


def _begins(path: Path, beginning: str) -> bool:
    """Whether a file begins with a text.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning.encode()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name") from error


def _read(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the runs of a folder; files that are none, or have no row yet, are told and left out.

    Returns:
        The rows of the seeds of each setting, by its name.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give that of the CSV files of runs")
    tables = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            if not _begins(path, ",".join(_COLUMNS)):  # else an earlier report
                tables[path] = read_run(path, _FIELDS)
        except UserError as error:
            logger.warning("%s is left out: %s", path.name, error)
    if not tables:
        return {}
    runs = group_runs(tables, options_of_runs(tables))
    return {str(name): rows for name, rows in runs.groupby(level="group", sort=False)}


def _over_games(results: Sequence[GameResult]) -> list[Aggregate]:
    """The figures over all games, unless a game would count twice."""
    times = Counter(result.game for result in results if result.published)
    several = [str(game) for game, number in times.items() if number > 1]
    if several:
        logger.warning(
            "%s: several settings of the same game; without figures over all games, for which a "
            "folder has one setting of each",
            ", ".join(several),
        )
        return []
    return aggregates(results)


def _markdown(folder: Path, results: Sequence[GameResult], over_games: Sequence[Aggregate]) -> str:
    """The tables and what they mean."""
    with_humans = any(result.published for result in results)
    head = ["run", "seeds", "steps", "mean", "std"]
    if with_humans:
        head[3:3] = ["random", "human", "Nature"]
        head += ["human-normalized", "steps to human level"]
    lines = [f"{_TITLE}{folder}", "", *_head(head)]
    for result in results:
        cells = [result.name, str(len(result.scores)), _steps(result.steps)]
        if with_humans:
            known = result.published or (nan,) * 3
            cells += [_number(score) for score in known]
        cells += [_number(result.mean), _number(result.std)]
        if with_humans:
            never = "not reached" if result.published else ""
            steps = result.steps_to_human
            cells += [
                _percent(result.normalized(result.mean)),
                never if steps is None else f"{steps:,}",
            ]
        lines.append(_row(cells))
    lines += ["", _NOTES]
    if with_humans:
        lines += ["", _NOTES_ON_HUMANS]
    if over_games:
        games = [result for result in results if result.published]
        there = sum(result.mean >= result.published.human for result in games if result.published)
        lines += ["", *_head([f"over all games ({len(games)})", "score", "95% interval", "Nature"])]
        for name, value, low, high, nature in over_games:
            interval = "" if isnan(low) else f"{_percent(low)} to {_percent(high)}"
            lines.append(_row([name, _percent(value), interval, _percent(nature)]))
        lines += [_row(["games at human level", str(there), "", ""]), "", _NOTES_ON_AGGREGATES]
        if isnan(over_games[0].low):
            lines += ["There are no intervals, because a game has only one seed."]
    return "\n".join(lines) + "\n"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _steps(fewest_and_most: tuple[int, int]) -> str:
    """`800,000`, or where the seeds are not equally far `50,000 to 800,000`."""
    return " to ".join(f"{steps:,}" for steps in sorted(set(fewest_and_most)))


def _number(value: float) -> str:
    return "" if isnan(value) else f"{value:,.1f}"


def _percent(value: float) -> str:
    return "" if isnan(value) else f"{value:,.1f}%"


def _csv(results: Sequence[GameResult], over_games: Sequence[Aggregate]) -> str:
    """A row for each game and for each figure over all games; an empty cell where none is known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = {
            "run": result.name,
            "game": result.game,
            "seeds": len(result.scores),
            "steps": result.steps[1],
            **(result.published._asdict() if result.published else {}),
            "mean": result.mean,
            "std": result.std,
            "human_normalized": result.normalized(result.mean),
            "steps_to_human": result.steps_to_human,
        }
        writer.writerow(_known(row))
    for name, value, low, high, _ in over_games:
        row = {"run": name, "human_normalized": value, "low": low, "high": high}
        writer.writerow(_known(row))
    return text.getvalue()


def _known(row: dict[str, object]) -> dict[str, object]:
    """The cells that have a value."""
    unknown = {name for name, value in row.items() if isinstance(value, float) and isnan(value)}
    return {name: value for name, value in row.items() if name not in unknown}
