"""`plot CSV...`: draw the statistics of one or several runs."""

from pathlib import Path
from typing import Any

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import options_of_runs
from simple_dqn.errors import UserError
from simple_dqn.options.commands import FIELDS
from simple_dqn.reports.curves import X_AXES, make_figure, write_figure
from simple_dqn.reports.run_tables import game_in, group_runs, read_run


def plot(
    csv_file: list[Path], fields: str, output: Path | None, dpi: int, x_axis: str, **others: Any
) -> None:
    """Draw a picture, 9 or 11 inches wide, and write its name to standard output.

    Without `output` the picture has the first CSV file's name with .png. `fields` are columns,
    separated by commas, and `others` is what `curves.make_figure` takes besides.
    """
    output = output or csv_file[0].parent / f"{csv_file[0].stem}.png"
    columns = [field.strip() for field in fields.split(",") if field.strip()]
    if not columns:
        raise UserError("nothing to plot; name at least one column with --fields")
    paths = list({path.resolve(): path for path in csv_file}.values())  # the same file counts once
    runs = {path: read_run(path, [*columns, X_AXES[x_axis][1]]) for path in paths}
    options = options_of_runs(paths)
    groups = group_runs(runs, options)
    if fields == FIELDS:  # without what has no common scale
        units = all("dead_units" in run for run in runs.values())  # older files lack it
        if units or len({game_in(name) for name in groups}) > 1:
            columns.remove("nr_games")
        if len({run.get("distributional") for run in options.values()}) > 1:
            columns.remove("meancost")
        if units:
            columns.append("dead_units")
    figure = make_figure(groups, fields=columns, x_axis=x_axis, **others)
    write_figure(figure, output, dpi=dpi)
    streams.write(f"{output}\n")
