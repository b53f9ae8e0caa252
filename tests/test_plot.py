"""Learning curves: what reaches the axes, what people get wrong, what is left on the disk."""

import csv
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import HEADER as SNAPSHOT_HEADER
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simple_dqn.checkpoints.snapshot import write_snapshot
from simple_dqn.commands.plot import plot
from simple_dqn.errors import UserError
from simple_dqn.options.commands import FIELDS
from simple_dqn.reports.curves import PHASE_COLOURS, make_figure
from simple_dqn.reports.run_tables import Groups, group_name, group_runs, read_run

HEADER = (
    "epoch,phase,steps,nr_games,average_reward,min_game_reward,max_game_reward,"
    "last_exploration_rate,total_train_steps,replay_memory_count,meanq,meancost,"
    "weight_updates,total_time,epoch_time,steps_per_second"
)
# Lines as the tool of 2015 wrote them: a 64-bit sys.maxint where no game ended, cost 0 in a test.
LINES_2015 = (
    HEADER,
    "0,random,50000,54,-20.25,-21,-17,1,0,50954,0.000152956,0,0,46.390348,46.390305,1077.81",
    "1,train,250000,282,-20.5,-21,-4,0.775,250000,306047,-0.0314682,0.0116,62500,730.2,683.7,365.6",
    "1,test,125000,1,0,9223372036854775807,-9223372036854775808,0.05,250000,433833,-0.0314,0,"
    "62500,1046.1,315.8,395.7",
    "2,train,250000,292,-20.5,-21,-17,0.55,500000,689034,-0.0512,6.01e-03,125000,1823.5,777.4,321.5",
    "2,test,125000,164,-20.75,-21,-20,0.05,500000,817112,-0.051,0,125000,2140.0,316.4,394.9",
)


def write_csv(
    path: Path, train: Sequence[float], test: Sequence[float], random: float | None = None
) -> Path:
    """Write the scores of a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "phase", "average_reward"))
        if random is not None:
            writer.writerow((0, "random", random))
        for phase, values in (("train", train), ("test", test)):
            writer.writerows((epoch, phase, value) for epoch, value in enumerate(values, start=1))
    return path


def read(
    *paths: Path, fields: Sequence[str], options: Mapping[Path, Mapping[str, object]] | None = None
) -> Groups:
    return group_runs({path: read_run(path, fields) for path in paths}, options or {})


def draw(*paths: Path, fields: Sequence[str] = ("average_reward",)) -> Figure:
    return make_figure(read(*paths, fields=fields), fields=fields)


def draw_file(path: Path, output: Path, dpi: int = 20) -> None:
    plot([path], "average_reward", output, dpi, "epochs")


@pytest.fixture
def plotted(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What `plot` would write, the latest last."""
    figures: list[Figure] = []
    monkeypatch.setattr(
        "simple_dqn.commands.plot.write_figure", lambda figure, *_, **__: figures.append(figure)
    )
    return figures


def lines(axes: Axes, phase: str) -> list[Line2D]:
    """Return the lines in a phase's colour, which a figure of one group uses."""
    return [line for line in axes.lines if same_color(line.get_color(), PHASE_COLOURS[phase])]


def heights(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def points(line: Line2D) -> list[tuple[float, float]]:
    return list(zip(np.asarray(line.get_xdata()).tolist(), heights(line), strict=True))


def band(axes: Axes, index: int) -> dict[float, tuple[float, float]]:
    """Return a band's lowest and highest value by epoch."""
    vertices = np.asarray(axes.collections[index].get_paths()[0].vertices)
    return {
        float(x): (
            float(vertices[vertices[:, 0] == x, 1].min()),
            float(vertices[vertices[:, 0] == x, 1].max()),
        )
        for x in np.unique(vertices[:, 0])
    }


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text().strip()]


@pytest.fixture
def csv_2015(tmp_path: Path) -> Path:
    path = tmp_path / "pong.csv"
    path.write_text("\r\n".join(LINES_2015) + "\r\n", newline="")
    return path


# What reaches the axes.


def test_file_of_2015_gives_its_values(csv_2015: Path) -> None:
    fields = "average_reward", "meanq", "weight_updates", "meancost", "max_game_reward"
    figure = draw(csv_2015, fields=fields)
    score, meanq, updates, loss, highest = figure.axes
    assert (loss.get_title(), loss.get_ylabel()) == ("Average loss", "loss")
    assert [points(line) for line in lines(score, "train")] == [[(1, -20.5), (2, -20.5)]]
    assert [points(line) for line in lines(score, "test")] == [[(1, 0), (2, -20.75)]]
    (baseline,) = lines(score, "random")
    assert set(heights(baseline)) == {-20.25}
    assert baseline.get_linestyle() == "--"
    assert [points(line) for line in lines(meanq, "test")] == [[(1, -0.0314), (2, -0.051)]]
    assert set(heights(lines(meanq, "random")[0])) == {0.000152956}
    assert lines(updates, "random") == []
    assert [points(line) for line in lines(updates, "test")] == [[(1, 62500), (2, 125000)]]
    assert [points(line) for line in loss.lines] == [[(1, 0.0116), (2, 0.00601)]]  # of training
    np.testing.assert_array_equal(heights(lines(highest, "test")[0]), [math.nan, -20])  # no game
    assert figure.get_suptitle() == "pong, best test score 0.00 (epoch 1)"
    assert legend_labels(figure) == ["random play", "train", "test", "human"]


def test_nan_and_infinity_leave_gaps_and_a_lonely_point_a_marker(tmp_path: Path) -> None:
    scores = [float(epoch) for epoch in range(1, 61)]
    scores[9], scores[11] = math.nan, math.inf
    (axes,) = draw(write_csv(tmp_path / "pong.csv", [], scores)).axes
    (line,) = lines(axes, "test")
    np.testing.assert_array_equal(heights(line), np.where(np.isfinite(scores), scores, math.nan))
    assert line.get_markevery() == [epoch == 11 for epoch in range(1, 61)]


def test_only_a_random_row_shows_the_baseline(csv_2015: Path) -> None:
    csv_2015.write_text("\n".join(LINES_2015[:2]) + "\n")
    figure = draw(csv_2015, fields=("average_reward", "meancost"))
    score, loss = figure.axes
    assert set(heights(lines(score, "random")[0])) == {-20.25}
    assert [text.get_text() for text in score.texts] == ["human: 14.6 ↑"]
    assert [text.get_text() for text in loss.texts] == ["no values yet"]
    assert legend_labels(figure) == ["random play"]
    assert figure.get_suptitle() == "pong"


# Files as they are found.


@pytest.mark.parametrize("cut", ["3,tr", "3", "3,train,250000,2\n", LINES_2015[-1][:-1]])
def test_incomplete_lines_are_left_out(
    csv_2015: Path, caplog: pytest.LogCaptureFixture, cut: str
) -> None:
    broken = "1,test,125000,1,0,9223" + LINES_2015[3]  # a run that died and was started again
    csv_2015.write_text("\n".join((*LINES_2015[:3], broken, *LINES_2015[3:-1], cut)))
    rows = read_run(csv_2015, ())
    assert rows["phase"].tolist() == ["random", "train", "test", "train"]
    assert rows["epoch"].tolist() == [0, 1, 1, 2]
    assert caplog.messages == [f"{csv_2015}: incomplete lines are left out: 2"]


def test_epoch_that_was_run_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "pong.csv"
    path.write_text("epoch,phase,meanq\n1,test,5\n1,refill,4\n2,test,6\n2,test,8\n3,test,9\n")
    (axes,) = draw(path, fields=("meanq",)).axes
    assert points(lines(axes, "test")[0]) == [(1, 5), (2, 8), (3, 9)]


# Several files.


def test_seeds_become_a_mean_and_a_band(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "pong_seed1.csv", [1, 2, 3], [10, 20, 30], random=-20)
    second = write_csv(tmp_path / "pong_seed2.csv", [3, 6], [20, math.nan], random=-10)
    figure = draw(first, second)
    (axes,) = figure.axes
    assert [points(line) for line in lines(axes, "train")] == [[(1, 2), (2, 4), (3, 3)]]
    assert [points(line) for line in lines(axes, "test")] == [[(1, 15), (2, 20), (3, 30)]]
    assert set(heights(lines(axes, "random")[0])) == {-15}
    assert band(axes, 0) == {1: (1, 3), 2: (2, 6), 3: (3, 3)}
    assert band(axes, 1) == {1: (10, 20), 2: (20, 20), 3: (30, 30)}
    # The best is looked for where every seed has a score: at epoch 1.
    assert figure.get_suptitle() == "pong, mean of 2 seeds, best test score 15.0 (epoch 1)"
    phases = ["random play", "train", "test", "lowest to highest seed", "human"]
    assert legend_labels(figure) == phases


@pytest.mark.parametrize("kind", ["stderr", "bootstrap"])
def test_the_band_can_be_the_means_uncertainty(tmp_path: Path, kind: str) -> None:
    """A standard error, or the interval of the means of all ways to draw; none of a lonely seed."""
    scores = [1.0, 2.0, 4.0, 8.0, 20.0]
    paths = [write_csv(tmp_path / f"pong_s{i}.csv", [], [score]) for i, score in enumerate(scores)]
    write_csv(paths[0], [], [scores[0], 5])
    groups = read(*paths, fields=["average_reward"])
    figure = make_figure(groups, fields=["average_reward"], band=kind, title="For a paper")
    error = np.std(scores, ddof=1) / math.sqrt(5)
    means = [np.mean(drawn) for drawn in itertools.product(scores, repeat=5)]
    expected = {"stderr": (7 - error, 7 + error), "bootstrap": np.quantile(means, (0.025, 0.975))}
    found = band(figure.axes[0], 1)
    assert list(found) == [1]
    assert found[1] == pytest.approx(expected[kind], abs=0.2)
    assert figure.get_suptitle() == "For a paper"


def test_panels_without_a_common_scale_are_left_out(tmp_path: Path, plotted: list[Figure]) -> None:
    """Unless they are asked for."""
    paths = []
    for name, head in (("pong", "qr"), ("pong_b", "none"), ("breakout", "qr")):
        paths.append(tmp_path / "results" / f"{name}.csv")
        paths[-1].parent.mkdir(exist_ok=True)
        more = ",dead_units\n1,test,1,2,3,4,0.5\n" if head == "none" else "\n1,test,1,2,3,4\n"
        paths[-1].write_text(f"epoch,phase,{FIELDS}{more}")
        snapshot = tmp_path / "snapshots" / f"{name}_1.safetensors"
        write_snapshot(snapshot, SNAPSHOT_HEADER | {"options": {"distributional": head}}, {})
    pong, other_loss, other_game = paths
    for runs, fields, titles in (
        ([pong, other_loss], FIELDS, {"Games played"}),
        ([pong, other_game], FIELDS, {"Average loss"}),
        (paths, "nr_games,meancost", {"Games played", "Average loss"}),
    ):
        plot(runs, fields, None, 40, "epochs")
        drawn = {axes.get_title() for axes in plotted[-1].axes}
        assert drawn & {"Games played", "Average loss"} == titles
    for runs, last in ((paths[:1], "Games played"), (paths[1:2], "Hidden units")):
        plot(runs, FIELDS, None, 40, "epochs")
        titles = [axes.get_title() for axes in plotted[-1].axes]
        assert len(titles) == 4
        assert any(title.startswith(last) for title in titles)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["pong_seed1", "pong_seed2"], {"pong": 2}),
        (["pong-s1", "pong_2", "pongseed3", "pong"], {"pong": 4}),
        (["a/pong", "b/pong"], {"a/pong": 1, "b/pong": 1}),
        (["a/pong_s1", "b/pong_s1", "b/pong_s2"], {"a/pong_s1": 1, "b/pong": 2}),
        (["x/a/pong", "y/a/pong", "pong"], {"x/a/pong": 1, "y/a/pong": 1, "pong": 1}),
        (["pong_seed1", "breakout"], {"pong_seed1": 1, "breakout": 1}),
        (["pong_a_1", "breakout", "pong_a_2"], {"pong_a": 2, "breakout": 1}),
        (["galaxians1", "galaxians2"], {"galaxians1": 1, "galaxians2": 1}),
    ],
)
def test_file_names_tell_the_seeds(
    tmp_path: Path, names: list[str], groups: dict[str, int]
) -> None:
    paths = [tmp_path / f"{name}.csv" for name in names]
    assert Counter(group_name(path, paths) for path in paths) == groups


def test_runs_whose_snapshots_have_other_options_are_not_seeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, plotted: list[Figure]
) -> None:
    """But the same file twice is one seed."""
    paths = []
    for seed, learning_rate in ((1, 0.1), (2, 0.1), (3, 0.2)):
        paths.append(write_csv(tmp_path / "results" / f"pong_s{seed}.csv", [1], [2]))
        options = {"random_seed": seed, "learning_rate": learning_rate}
        write_snapshot(
            tmp_path / "snapshots" / f"pong_s{seed}_1.safetensors",
            SNAPSHOT_HEADER | {"options": options},
            {},
        )
    again = paths[0].parent / ".." / "results" / paths[0].name
    plot([*paths[:2], again], "average_reward", None, 40, "epochs")
    assert not caplog.records
    assert "mean of 2 seeds" in plotted[-1].get_suptitle()
    plot(paths, "average_reward", None, 40, "epochs")
    assert "differ in learning_rate" in caplog.text


def test_steps_frames_or_hours_run_to_the_right(csv_2015: Path) -> None:
    """A step is 4 frames where the settings are unknown."""
    fields = ("average_reward", "total_train_steps", "total_time")
    runs, skipping, gym = (
        read(csv_2015, fields=fields, options={csv_2015: options})
        for options in ({}, {"frame_skip": 5}, {"environment": "gym", "frame_skip": 5})
    )
    for table, x_axis, label, expected in (
        (runs, "epochs", "epoch", (1, 2)),
        (runs, "steps", "training steps", (250_000, 500_000)),
        (runs, "frames", "training frames", (1_000_000, 2_000_000)),
        (skipping, "frames", "training frames", (1_250_000, 2_500_000)),
        (gym, "frames", "training frames", (250_000, 500_000)),
        (runs, "hours", "hours", (1046.1 / 3600, 2140.0 / 3600)),
    ):
        (axes,) = make_figure(table, fields=fields[:1], x_axis=x_axis).axes
        assert axes.get_xlabel() == label
        (line,) = lines(axes, "test")
        np.testing.assert_allclose(points(line), list(zip(expected, (0, -20.75), strict=True)))
        low, high = axes.get_xlim()
        assert low < expected[0] < expected[1] < high
        assert set(heights(lines(axes, "random")[0])) == {-20.25}


def test_a_smoothed_point_is_the_mean_of_each_seeds_latest_epochs(tmp_path: Path) -> None:
    """Gaps stay gaps, random play stays as it is, and the title's best score is not smoothed."""
    paths = [
        write_csv(tmp_path / "pong_s1.csv", [], [1, 2, 6, math.nan, 4], random=5),
        write_csv(tmp_path / "pong_s2.csv", [], [3, 4, 8, math.nan, 8], random=5),
    ]
    runs = read(*paths, fields=["average_reward"])
    figure = make_figure(runs, fields=["average_reward"], smooth=3)
    (axes,) = figure.axes
    expected = [(1 + 3) / 2, (1.5 + 3.5) / 2, (3 + 5) / 2, math.nan, (5 + 8) / 2]
    np.testing.assert_allclose(heights(lines(axes, "test")[0]), expected)
    assert band(axes, 1)[3] == (3, 5)
    assert set(heights(lines(axes, "random")[0])) == {5}
    assert "best test score 7.00 (epoch 3)" in figure.get_suptitle()


def test_other_files_are_laid_over_one_another(tmp_path: Path) -> None:
    adam = write_csv(tmp_path / "pong_adam.csv", [1, 2], [3, 4], random=0)
    first = write_csv(tmp_path / "pong_rmsprop_1.csv", [5], [6], random=1)
    second = write_csv(tmp_path / "pong_rmsprop_2.csv", [7], [8], random=1)
    figure = draw(adam, first, second)
    (axes,) = figure.axes
    human = [14.6, 14.6]
    drawn = [heights(line) for line in axes.lines]
    assert drawn == [[0, 0], [1, 2], [3, 4], [1, 1], [6], [7], human]
    colours = [to_hex(line.get_color()) for line in axes.lines]
    assert len(set(colours[:3])) == len(set(colours[3:6])) == 1
    assert colours[0] != colours[3]
    assert len(axes.collections) == 2  # the bands of the seeds' train and test phases
    assert figure.get_suptitle() == "pong"
    assert legend_labels(figure) == [
        "pong_adam, best test score 4.00 (epoch 2)",
        "pong_rmsprop, mean of 2 seeds, best test score 7.00 (epoch 1)",
        *("random play", "train", "test", "lowest to highest seed", "human"),
    ]


@pytest.mark.parametrize(
    ("game", "tests", "text"),
    [
        ("seaquest", [100, 700], "human: 42,054.7 ↑"),  # a line would leave a fiftieth
        ("boxing", [98, 99], "human: 12.1 ↓"),
    ],
)
def test_a_human_far_away_does_not_flatten_the_curves(
    tmp_path: Path, game: str, tests: list[float], text: str
) -> None:
    figure = draw(write_csv(tmp_path / f"{game}.csv", [], tests, random=tests[0]))
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert high - low < 2 * (tests[-1] - tests[0])
    assert [label.get_text() for label in axes.texts] == [text]
    assert "human" not in legend_labels(figure)


def test_scores_of_several_games_are_brought_to_one_scale(tmp_path: Path) -> None:
    """Random play has -20.7 in Pong and 1.7 in Breakout, a human 14.6 and 30.5."""
    pong = write_csv(tmp_path / "pong_s1.csv", [], [14.6, -20.7])
    breakout = write_csv(tmp_path / "breakout.csv", [], [16.1], random=1.7)
    figure = draw(pong, breakout, fields=("average_reward", "epoch"))
    score, other = figure.axes
    assert score.get_ylabel() == "human-normalized score, %"
    assert heights(score.lines[1]) == pytest.approx([100, 0])
    assert set(heights(score.lines[2])) == {0.0}
    assert heights(score.lines[4]) == pytest.approx([50])
    assert set(heights(score.lines[-1])) == {100.0}
    assert len(other.lines) == len(score.lines) - 1  # no human
    assert "best test score 14.6" in legend_labels(figure)[0]
    figure = draw(pong, write_csv(tmp_path / "CartPole-v1.csv", [1], [2]))
    assert figure.axes[0].get_ylabel() == "score, on each game's own scale"
    assert "human" not in legend_labels(figure)


# People's mistakes.


@pytest.mark.parametrize("field", ["zzz", "phase"])
def test_unknown_field_is_refused_with_all_columns(csv_2015: Path, field: str) -> None:
    known = ", ".join(column for column in HEADER.split(",") if column != "phase")
    with pytest.raises(UserError, match=rf"no column '{field}'; choose from {known}$"):
        draw(csv_2015, fields=("meanq", field))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is a folder; give the CSV file of a run"),
        (b"", "has no columns 'epoch' and 'phase'"),
        (bytes(range(256)), "is not a text file"),
        (b"epoch,average_reward\n1,2\n", "has no columns 'epoch' and 'phase'"),
        (HEADER.encode() + b"\n0,rand", "has no results yet"),
        (b"epoch,phase,average_reward\ninf,test,2\n", "Cannot convert non-finite values"),
        (b"epoch,phase,average_reward\n1,test,much\n", "'much'"),
    ],
)
def test_unusable_file_is_named_and_leaves_nothing_behind(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "pong.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        draw_file(path, tmp_path / "pong.png")
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pong.csv"]


# The picture on the disk.


def test_suffix_chooses_the_format(csv_2015: Path, tmp_path: Path) -> None:
    """A PNG has the resolution that is asked for; fonts of a PDF are TrueType."""
    found = {}
    for name in ("a", "new/folder/a.pdf", "a.SVG"):
        output = tmp_path / name
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("an older picture")
        draw_file(csv_2015, output, dpi=50)
        found[name] = output.read_bytes()
    png, pdf, svg = found.values()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 9 * 50
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf
    assert svg.startswith(b"<?xml")
