"""`plot CSV...`: draw the statistics of one or several runs."""

from pathlib import Path

from simple_dqn import streams
from simple_dqn.checkpoints.snapshot import options_of_runs
from simple_dqn.reports.curves import plot_results


def plot(
    csv_file: list[Path],
    fields: str,
    output: Path | None,
    dpi: int,
    x_axis: str,
    smooth: int,
) -> None:
    """Draw a picture and write its name to standard output.

    Args:
        csv_file: statistics of runs, drawn over one another.
        fields: columns, separated by commas, a panel each.
        output: the picture; None: the first file's name with .png.
        dpi: pixels per inch.
        x_axis: epochs, steps, frames or hours.
        smooth: number of epochs whose mean a point of a curve is.
    """
    first = csv_file[0]
    output = output or (first.with_suffix(".png") if first.name else first)
    columns = [field.strip() for field in fields.split(",") if field.strip()]
    plot_results(
        csv_file,
        fields=columns,
        output=output,
        dpi=dpi,
        settings=options_of_runs(csv_file),
        x_axis=x_axis,
        smooth=smooth,
    )
    streams.write(f"{output}\n")
