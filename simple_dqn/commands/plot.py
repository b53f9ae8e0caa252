"""`plot CSV...`: draw the statistics of one or several runs."""

from pathlib import Path

from simple_dqn.run import streams
from simple_dqn.watch.curves import plot_results


def plot(csv_file: list[Path], fields: str, output: Path | None) -> None:
    """Draw a picture and write its name to standard output.

    Args:
        csv_file: statistics of runs, drawn over one another.
        fields: columns, separated by commas, a panel each.
        output: the picture; None: the first file's name with .png.
    """
    first = csv_file[0]
    output = output or (first.with_suffix(".png") if first.name else first)
    columns = [field.strip() for field in fields.split(",") if field.strip()]
    plot_results(csv_file, fields=columns, output=output)
    streams.write(f"{output}\n")
