"""The report of a folder: its tables, pictures and names, and what it leaves alone."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import write_run
from matplotlib.container import BarContainer

from simple_dqn.main import main
from simple_dqn.reports.evaluation import result_of
from simple_dqn.reports.report_figures import draw_curves, draw_over_games, draw_scores
from simple_dqn.reports.run_tables import Groups, group_runs, read_run


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two games of two seeds, and one of Gymnasium without a human's score."""
    folder = tmp_path / "my suite"
    folder.mkdir()
    write_run(folder / "pong_s1.csv", [-10, 15, 16], epoch_steps=50_000)
    write_run(folder / "pong_s2.csv", [-14, 14, 20], epoch_steps=50_000)
    write_run(folder / "breakout_s1.csv", [3, 31, 40], epoch_steps=50_000)
    write_run(folder / "breakout_s2.csv", [2, 32, 44], epoch_steps=50_000)
    write_run(folder / "CartPole-v1_s1.csv", [100, 500, 490], epoch_steps=50_000)
    return folder


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn, but not written, which takes most of a report's time."""
    monkeypatch.setattr("simple_dqn.commands.report.write_figure", lambda *_: None)


def groups_of(folder: Path) -> Groups:
    fields = ["average_reward", "total_train_steps"]
    return group_runs({path: read_run(path, fields) for path in sorted(folder.glob("*.csv"))}, {})


def report(
    folder: Path, capsys: pytest.CaptureFixture[str], *options: str, errors: int = 0
) -> list[str]:
    """Run the command; return the lines that it writes, those on stderr (so many) at the end."""
    assert main(["report", str(folder), *options]) == 0
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == errors
    return [*captured.out.splitlines(), *captured.err.splitlines()]


def test_table_and_pictures(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = report(suite, capsys)
    assert lines[0] == f"# Results of {suite}"
    assert [line for line in lines if line.startswith("| ")][:4] == [
        "| run | seeds | steps | random | human | Nature | mean | std | human-normalized "
        "| steps to human level |",
        "| CartPole-v1_s1 | 1 | 150,000 |  |  |  | 490.0 |  |  |  |",
        "| breakout | 2 | 150,000 | 1.7 | 30.5 | 401.2 | 42.0 | 2.8 | 139.9% | 100,000 |",
        "| pong | 2 | 150,000 | -20.7 | 14.6 | 18.9 | 18.0 | 2.8 | 109.6% | 150,000 |",
    ]
    (median,) = (line.strip("| ").split(" | ") for line in lines if line.startswith("| median"))
    assert median[:2] == ["median", "124.8%"]
    assert "| games at human level | 2 |  |  |" in lines
    written = [Path(line) for line in lines if line.startswith(str(suite))]
    names = ["report.md", "report.csv"]
    names += [f"report_{word}.png" for word in ("curves", "scores", "over_games")]
    assert [path.name for path in written] == names
    assert (suite / "report.md").read_text() == "\n".join(lines[: -len(written) - 1]) + "\n"
    for path in written[2:]:
        assert path.read_bytes().startswith(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in suite.iterdir()}
    assert report(suite, capsys) == lines  # again: none of its own files is read as a run
    assert before == {path.name: path.read_bytes() for path in suite.iterdir()}
    with (suite / "report.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    settings = ["CartPole-v1_s1", "breakout", "pong"]
    assert list(rows) == [*settings, "median", "mean", "interquartile mean", "optimality gap"]
    assert rows["CartPole-v1_s1"]["human_normalized"] == rows["CartPole-v1_s1"]["std"] == ""
    assert rows["pong"]["game"] == "pong"
    assert rows["pong"]["steps_to_human"] == "150000"
    assert float(rows["pong"]["std"]) == pytest.approx(8**0.5)
    normalized = [100 * 40.3 / 28.8, 100 * 38.7 / 35.3]
    assert float(rows["mean"]["human_normalized"]) == pytest.approx(np.mean(normalized))
    low, high = float(rows["mean"]["low"]), float(rows["mean"]["high"])
    assert low < float(rows["mean"]["human_normalized"]) < high


def test_a_persons_own_file_stays(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite / "report.md").write_text("mine\n")
    assert main(["report", str(suite)]) == 1
    error = capsys.readouterr().err
    assert "report.md is not an earlier report; choose another name with --output" in error
    assert (suite / "report.md").read_text() == "mine\n"
    assert not list(suite.glob("report_*"))


def test_output_names_all_files(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(suite.iterdir())
    output = suite.parent / "elsewhere" / "table.svg"
    report(suite, capsys, "--output", str(output))
    assert sorted(suite.iterdir()) == before
    names = sorted(path.name for path in output.parent.iterdir())
    pictures = [f"table_{word}.svg" for word in ("curves", "over_games", "scores")]
    assert names == ["table.csv", "table.md", *pictures]
    assert (output.parent / "table_scores.svg").read_bytes().startswith(b"<?xml")
    assert main(["report", str(suite), "--output", str(suite / "a.xyz")]) == 1
    assert "name a .png, .pdf or .svg file" in capsys.readouterr().err
    assert sorted(suite.iterdir()) == before


@pytest.mark.usefixtures("no_pictures")
def test_games_without_a_humans_score_have_no_such_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "CartPole-v1_s1.csv", [100, 500])
    write_run(tmp_path / "CartPole-v1_s2.csv", [100, 400])
    lines = report(tmp_path, capsys)
    assert lines[2:5] == [
        "| run | seeds | steps | mean | std |",
        "|---|---|---|---|---|",
        "| CartPole-v1 | 2 | 100 | 450.0 | 70.7 |",
    ]
    assert not [line for line in lines if "human-" in line or "scores.png" in line]


@pytest.mark.usefixtures("no_pictures")
def test_one_seed_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "pong_s1.csv", [14.6])
    lines = report(tmp_path, capsys)
    assert "| mean | 100.0% |  | 112.2% |" in lines
    assert "There are no intervals, because a game has only one seed." in lines


@pytest.mark.usefixtures("no_pictures")
def test_two_settings_of_a_game_are_told_and_make_no_figures_over_games(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pong_a_s1", "pong_b_s1", "breakout_s1"):
        write_run(tmp_path / f"{name}.csv", [14])
    *lines, error = report(tmp_path, capsys, errors=1)
    assert sum(line.startswith("| pong_") for line in lines) == 2
    assert not [line for line in lines if "median" in line]
    assert "no figures over all games: there are several settings of pong" in error


@pytest.mark.usefixtures("no_pictures")
def test_other_files_and_untested_runs_are_told(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite / "notes.csv").write_text("date,what\n1,2\n")
    (suite / "empty_s1.csv").touch()
    (suite / "folder.csv").mkdir()
    (suite / "\x1b[2J.csv").touch()  # would clear the terminal
    write_run(suite / "enduro_s1.csv", [])
    errors = report(suite, capsys, errors=5)[-5:]
    left_out = ["\\x1b[2J.csv", "empty_s1.csv", "folder.csv", "notes.csv", "enduro_s1"]
    assert [line.split()[1] for line in errors] == left_out


@pytest.mark.parametrize(
    ("name", "tests", "part"),
    [
        ("", [], "has a score in its last test; test"),
        ("", [3.0, math.nan], "has a score in its last test; test"),
        ("nothing", [], "is not a folder"),
        ("pong_s1.csv", [], "is not a folder"),
    ],
)
def test_a_folder_without_results_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, tests: list[float], part: str
) -> None:
    write_run(tmp_path / "pong_s1.csv", tests)
    assert main(["report", str(tmp_path / name)]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("simple_dqn: ")
    assert part in line
    assert [path.name for path in tmp_path.iterdir()] == ["pong_s1.csv"]


# The pictures.


def test_curves_have_a_panel_for_each_game(suite: Path) -> None:
    figure = draw_curves(groups_of(suite))
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["CartPole-v1_s1, 1 seed", "breakout, 2 seeds", "pong, 2 seeds"]
    cartpole, _, pong = figure.axes
    assert pong.get_xlabel() == "training steps"
    random, train, test, human = pong.lines
    np.testing.assert_allclose(random.get_ydata(), [-20, -20])
    np.testing.assert_allclose(train.get_ydata(), [99, 99, 99])
    np.testing.assert_allclose(test.get_xdata(), [50_000, 100_000, 150_000])
    np.testing.assert_allclose(test.get_ydata(), [-12, 14.5, 18])
    np.testing.assert_allclose(human.get_ydata(), [14.6, 14.6])
    assert len(cartpole.lines) == 3  # no human
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["random play", "train", "test", "lowest to highest seed", "human"]


def test_a_mean_over_training_and_a_profile_over_games(suite: Path) -> None:
    """Where all runs were tested: the middle two of four runs, and the shares above scores."""
    write_run(suite / "pong_s1.csv", [-10, 15], epoch_steps=50_000)
    found = [result_of(name, rows) for name, rows in groups_of(suite).items()]
    figure = draw_over_games([result for result in found if result and result.published])
    figure.draw_without_rendering()
    mean, profile = (axes.lines[0] for axes in figure.axes)
    scores = [[10.7 / 35.3, 6.7 / 35.3, 1.3 / 28.8, 0.3 / 28.8]]
    scores += [[35.7 / 35.3, 34.7 / 35.3, 29.3 / 28.8, 30.3 / 28.8]]
    expected = [100 * np.mean(sorted(runs)[1:3]) for runs in scores]
    np.testing.assert_allclose(mean.get_xdata(), [50_000, 100_000])
    np.testing.assert_allclose(mean.get_ydata(), expected)
    last = 100 * np.array([35.7 / 35.3, 40.7 / 35.3, 38.3 / 28.8, 42.3 / 28.8])
    shares = [100 * np.mean(last > x) for x in np.asarray(profile.get_xdata())]
    np.testing.assert_allclose(profile.get_ydata(), shares)


def test_bars_are_sorted_and_human_normalized(suite: Path) -> None:
    found = [result_of(name, rows) for name, rows in groups_of(suite).items()]
    figure = draw_scores([result for result in found if result is not None])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["pong", "breakout"]
    ours, nature = (bars for bars in axes.containers if isinstance(bars, BarContainer))
    widths = [bar.get_width() for bar in (*ours, *nature)]
    expected = [38.7 / 35.3, 40.3 / 28.8, 39.6 / 35.3, 399.5 / 28.8]
    np.testing.assert_allclose(widths, 100 * np.array(expected))
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"110%", "140%"}
    low, high = axes.get_xlim()
    assert low <= 0
    assert max(widths) < high
