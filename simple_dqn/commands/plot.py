"""`plot CSV...`: draw the statistics of one or several runs."""

from pathlib import Path

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import options_of_runs
from simple_dqn.errors import UserError
from simple_dqn.reports.curves import X_AXES, make_figure, write_figure
from simple_dqn.reports.run_tables import group_runs, read_run


def plot(
    csv_file: list[Path], fields: str, output: Path | None, dpi: int, x_axis: str, smooth: int
) -> None:
    """Draw a picture and write its name to standard output.

    Args:
        csv_file: statistics of runs, drawn over one another.
        fields: columns, separated by commas, a panel each.
        output: the picture; None: the first file's name with .png.
        dpi: pixels per inch; the picture is 9 or 11 inches wide.
        x_axis: one of `curves.X_AXES`.
        smooth: number of epochs whose mean a point of a curve is.

    Raises:
        UserError: a CSV file, a field or the output cannot be used.
    """
    output = output or csv_file[0].parent / f"{csv_file[0].stem}.png"
    columns = [field.strip() for field in fields.split(",") if field.strip()]
    if not columns:
        raise UserError("nothing to plot; name at least one column with --fields")
    paths = list({path.resolve(): path for path in csv_file}.values())  # the same file counts once
    runs = {path: read_run(path, [*columns, X_AXES[x_axis][1]]) for path in paths}
    groups = group_runs(runs, options_of_runs(paths))
    figure = make_figure(groups, fields=columns, x_axis=x_axis, smooth=smooth)
    write_figure(figure, output, dpi=dpi)
    streams.write(f"{output}\n")
