"""`report RESULTS_FOLDER`: what the runs of a folder have reached, in a table and two pictures."""

import logging
from collections import Counter
from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

import pandas as pd

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import options_of_runs
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, write_atomically
from simple_dqn.reports.curves import write_figure
from simple_dqn.reports.evaluation import Aggregate, GameResult, aggregates, result_of
from simple_dqn.reports.report_figures import draw_curves, draw_over_games, draw_scores
from simple_dqn.reports.run_tables import Groups, group_runs, read_run

logger = logging.getLogger(__name__)

_TITLE = "# Results of "
_CSV_COLUMNS = (
    *("run", "game", "seeds", "steps", "random", "human", "nature", "mean", "std"),
    *("human_normalized", "low", "high", "steps_to_human"),
)
_MARKDOWN_COLUMNS = (
    *("run", "seeds", "steps", "random", "human", "Nature", "mean", "std"),
    *("human-normalized", "steps to human level"),
)
_NOTES = """
Mean and std are over the seeds' last tests; std has seeds - 1 in its denominator.
"""
_NOTES_ON_HUMANS = """
Random and human are the scores of Wang et al. 2016. Nature is DQN after 50,000,000 steps (Mnih et
al. 2015). On the human-normalized scale 0% is random play and 100% a human. A setting has reached
human level with the first test in which the mean over its seeds is at least a human's score.
"""
_NOTES_ON_AGGREGATES = """
Median and mean are over the games' means. The interquartile mean is over all runs but the lowest
and the highest quarter. The optimality gap is how far the runs are below 100% on average, so less
is better. The intervals are those of 95% of 10,000 stratified bootstrap resamples of the seeds
(Agarwal et al. 2021).
"""


def report(results_folder: Path, output: Path | None) -> None:
    """Write the table as Markdown and CSV and draw two pictures; print the table and all names.

    The names of all files come from `output`, by default `report.png` in the folder.
    """
    output = output or results_folder / "report"
    if not output.suffix:
        output = output.parent / f"{output.name or 'report'}.png"
    table, page = output.with_suffix(".csv"), output.with_suffix(".md")
    groups = _read(results_folder, earlier=table)
    for path, beginning in ((table, ",".join(_CSV_COLUMNS)), (page, _TITLE)):
        check_writable(path, "--output")
        if path.exists() and not path.read_text(errors="replace").startswith(beginning):
            raise UserError(f"{path} is not an earlier report; choose another name with --output")
    found = {name: result_of(name, rows) for name, rows in groups.items()}
    results = [result for result in found.values() if result is not None]
    if not results:
        raise UserError(
            f"no run in {results_folder} has a score in its last test; test its runs for longer"
        )
    for name in found.keys() - {result.name for result in results}:
        logger.warning("%s has no score in its last test and is left out", name)
    over_games = _over_games(results)
    text = _markdown(results_folder, results, over_games)
    curves = output.with_stem(f"{output.stem}_curves")
    write_figure(draw_curves({result.name: groups[result.name] for result in results}), curves)
    write_atomically(page, text.encode())
    write_atomically(table, _csv(results, over_games).encode())
    written = [page, table, curves]
    if any(result.published for result in results):
        written.append(output.with_stem(f"{output.stem}_scores"))
        write_figure(draw_scores(results), written[-1])
    if over_games:
        written.append(output.with_stem(f"{output.stem}_over_games"))
        write_figure(draw_over_games([r for r in results if r.published]), written[-1])
    streams.write(text + "\n" + "".join(f"{path}\n" for path in written))


def _read(folder: Path, earlier: Path) -> Groups:
    """Read the runs of a folder, but not the earlier report; log which files are left out."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of CSV files of runs")
    tables = {}
    for path in sorted({*folder.glob("*.csv")} - {earlier}):
        try:
            tables[path] = read_run(path, ("average_reward", "total_train_steps"))
        except UserError as error:
            logger.warning("%s is left out: %s", path.name, error)
    return group_runs(tables, options_of_runs(tables))


def _over_games(results: Sequence[GameResult]) -> list[Aggregate]:
    """The figures over all games, unless a game would count twice."""
    times = Counter(str(result.game) for result in results if result.published)
    several = ", ".join(game for game, number in times.items() if number > 1)
    if several:
        logger.warning("no figures over all games: there are several settings of %s", several)
    return [] if several else aggregates(results)


def _markdown(folder: Path, results: Sequence[GameResult], over_games: Sequence[Aggregate]) -> str:
    """The tables and what they mean."""
    games = [result for result in results if result.published]
    columns = range(len(_MARKDOWN_COLUMNS)) if games else (0, 1, 2, 6, 7)
    rows: list[Sequence[str]] = [_MARKDOWN_COLUMNS]
    for result in results:
        never = "not reached" if result.published else ""
        at_human = never if result.steps_to_human is None else f"{result.steps_to_human:,}"
        steps = " to ".join(f"{steps:,}" for steps in sorted(set(result.steps)))
        scores = (*(result.published or (nan,) * 3), result.mean, result.std)
        percent = _number(result.normalized(result.mean), "%")
        rows.append(
            [result.name, str(len(result.scores)), steps, *map(_number, scores), percent, at_human]
        )
    text = f"{_TITLE}{folder}\n\n" + _table([[row[i] for i in columns] for row in rows]) + _NOTES
    if games:
        text += _NOTES_ON_HUMANS
    if over_games:
        rows = [[f"over all games ({len(games)})", "score", "95% interval", "Nature"]]
        for name, value, low, high, nature in over_games:
            interval = "" if isnan(low) else f"{_number(low, '%')} to {_number(high, '%')}"
            rows.append([name, _number(value, "%"), interval, _number(nature, "%")])
        at_human_level = sum(r.mean >= r.published.human for r in games if r.published)
        rows.append(["games at human level", str(at_human_level), "", ""])
        text += "\n" + _table(rows) + _NOTES_ON_AGGREGATES
        if isnan(over_games[0].low):
            text += "There are no intervals, because a game has only one seed.\n"
    return text


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the head."""
    head, *lines = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *lines]) + "\n"


def _number(value: float, unit: str = "") -> str:
    return "" if isnan(value) else f"{value:,.1f}{unit}"


def _csv(results: Sequence[GameResult], over_games: Sequence[Aggregate]) -> str:
    """A row for each game and for each figure over all games; an unknown value is left empty."""
    rows: list[Sequence[object]] = []
    for r in results:
        reached = *(r.published or (nan,) * 3), r.mean, r.std, r.normalized(r.mean)
        rows.append(
            [r.name, r.game, len(r.scores), r.steps[1], *reached, nan, nan, r.steps_to_human]
        )
    rows += [[name, *[nan] * 8, value, low, high, nan] for name, value, low, high, _ in over_games]
    table = pd.DataFrame(rows, columns=_CSV_COLUMNS, dtype=object)
    return table.to_csv(index=False, lineterminator="\n")
