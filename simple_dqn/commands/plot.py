"""`plot CSV...`: draw the statistics of one or several runs."""

from pathlib import Path

from simple_dqn.errors import UserError
from simple_dqn.run import streams
from simple_dqn.run.snapshot import read_snapshot, run_snapshots
from simple_dqn.watch.curves import plot_results

# Options in which runs may differ that are seeds of one setting.
_OF_ONE_RUN = {"random_seed", "epochs", "save_memory", "test_steps", "test_games"}


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
    settings = {path: _settings(path) for path in csv_file}
    known = {path: options for path, options in settings.items() if options is not None}
    plot_results(
        csv_file,
        fields=columns,
        output=output,
        dpi=dpi,
        settings=known,
        x_axis=x_axis,
        smooth=smooth,
    )
    streams.write(f"{output}\n")


def _settings(csv_file: Path) -> dict[str, object] | None:
    """The game and the options of a run but for its seed, if one of its snapshots is at hand."""
    found = run_snapshots(csv_file.resolve().parent.parent / "snapshots" / csv_file.stem)
    for path in reversed(found.values()):
        try:
            header = read_snapshot(path).header
        except UserError:
            continue
        options = {k: v for k, v in header["options"].items() if k not in _OF_ONE_RUN}
        return {"game": header["game"], **options}
    return None
