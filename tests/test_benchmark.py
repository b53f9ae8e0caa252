"""The benchmark: its arithmetic on paper, its table on the real emulator; no speeds."""

import itertools
import math
import re
import shutil
import sys
from pathlib import Path

import pytest

from simple_dqn.commands import benchmark
from simple_dqn.commands.benchmark import Work
from simple_dqn.environments.roms import Game, find_game
from simple_dqn.errors import UserError
from simple_dqn.options.command_line import make_parser
from simple_dqn.options.commands import COMMANDS
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts

SMALL = "--backend cpu --screen_width 36 --screen_height 36 --replay_size 12000"


@pytest.fixture
def pong(tmp_path: Path) -> Game:
    return find_game("pong", tmp_path)


def options(text: str = "") -> Settings:
    """Settings as a command line gives them."""
    return Settings(**vars(make_parser(COMMANDS["train"]).parse_args(["pong", *text.split()])))


def test_update_flops_at_84x84() -> None:
    conv1 = 20 * 20 * 32 * (4 * 8 * 8)  # multiplications of one state's forward pass
    conv2 = 9 * 9 * 64 * (32 * 4 * 4)
    conv3 = 7 * 7 * 64 * (64 * 3 * 3)
    forward = conv1 + conv2 + conv3 + 7 * 7 * 64 * 512 + 512 * 6
    backward = 2 * forward - conv1  # towards weights and inputs, but for those of the first layer
    flops = benchmark.update_flops(options(), num_actions=6)
    assert flops == 2 * 32 * (forward + forward + backward)
    assert f"{flops / 1e9:.1f}" == "2.2"


def test_update_flops_at_36x36() -> None:
    conv1 = 8 * 8 * 32 * (2 * 8 * 8)
    conv2 = 3 * 3 * 64 * (32 * 4 * 4)
    conv3 = 1 * 1 * 64 * (64 * 3 * 3)
    forward = conv1 + conv2 + conv3 + 64 * 512 + 512 * 3
    args = options("--screen_width 36 --screen_height 36 --history_length 2 --batch_size 5")
    assert benchmark.update_flops(args, num_actions=3) == 2 * 5 * (4 * forward - conv1)


def test_weights_are_counted() -> None:
    assert benchmark.count_weights(options(), num_actions=18) == 1_693_362


def test_works_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of their own; in the last turn of each the machine stumbles."""
    now = 0.0
    turns: list[tuple[str, float]] = []

    def work(name: str, seconds: float, units: int = 1) -> Work:
        def run(number: int) -> None:
            nonlocal now
            turns.append((name, number))
            last = len(turns) > warm_up + 2 * (benchmark.TURNS - 1)
            now += number * seconds * (100 if last else 1)

        return Work(run, units)

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now)
    works = {"slow": work("slow", 0.25), "fast": work("fast", 0.001, units=8)}
    warm_up = 10**6
    benchmark.measure(works, seconds=10)
    warm_up = len(turns) - 2 * benchmark.TURNS
    turns.clear()
    rates = benchmark.measure(works, seconds=10)
    assert rates == pytest.approx({"slow": 4, "fast": 8000})
    # A turn takes its share of the time.
    assert turns[warm_up:] == [("slow", 8), ("fast", 2000)] * benchmark.TURNS


RATES = {
    "matrix product": 200e9,
    "memory copy": 11e9,  # 2 ms for 11 times 2 MB
    "update": 25.0,  # 40 ms, so 10 ms a step
    "predict 1": 900.0,  # in 9 of 10 steps, so 1 ms a step
    "predict 8": 400.0,
    "predict 32": 100.0,
    "bare engine": 1000.0,
    "random play": 750.0,
    "sample": 5000.0,
    "training": 80.0,  # 12.5 ms a step
    "sample, full": 4000.0,
    "training, full": 76.0,
}


def test_report_computes_ratios_and_names_the_bound() -> None:
    report = benchmark.report(
        options(), RATES, flops=2_000_000_000, weights=500_000, bytes_each=7062
    )
    assert "matrix product           200 GFLOP/s" in report
    assert re.search(r"update, arithmetic +2 GFLOP", report)
    assert re.search(r"update, floor +10 ms", report)
    assert re.search(r"update, weights +2 ms", report)
    assert re.search(
        r"update +40 ms, 25 updates/s, ratio to floor 4, to floor and weights 3\.33\n", report
    )
    assert re.search(r"memory copy +11 GB/s", report)
    assert re.search(r"sample +0\.2 ms\n", report)
    assert re.search(r"sample, full +0\.25 ms, of 1,000,000 steps\n", report)
    assert re.search(r"training, full +76 steps/s, 1,000,000 steps, ratio to small 0\.95\n", report)
    assert re.search(r"random play +750 steps/s, ratio to bare engine 0\.75\n", report)
    assert re.search(r"training +80 steps/s, .* alone 0\.88\n", report)
    assert re.search(r"replay memory +7,062 bytes", report)
    assert "stable-baselines3" not in report
    assert "bound by updates;" in report
    assert "updates 80%, predictions 8%, emulation 8%" in report


def test_report_compares_with_the_peer() -> None:
    rates = {**RATES, "stable-baselines3": 50.0}
    report = benchmark.report(
        options(), rates, flops=2_000_000_000, weights=500_000, bytes_each=7062
    )
    assert re.search(r"stable-baselines3 +50 steps/s, ratio ours to theirs 1\.6\n", report)


@pytest.mark.parametrize(
    ("part", "rate"), [("predict 1", 9.0), ("bare engine", 10.0), ("update", 0.25)]
)
def test_the_slowest_part_bounds(part: str, rate: float) -> None:
    bound = {"predict 1": "predictions", "bare engine": "emulation", "update": "updates"}[part]
    report = benchmark.report(options(), {**RATES, part: rate}, flops=1, weights=1, bytes_each=1)
    assert f"bound by {bound};" in report


def test_several_games_share_a_prediction() -> None:
    costs = benchmark.step_costs(options("--num_games 8"), RATES)
    assert costs["predictions"] == pytest.approx((1 - 0.1**8) / 8 / 400)
    assert costs["updates"] == pytest.approx(0.01)
    costs = benchmark.step_costs(options("--train_frequency 1 --train_repeat 3"), RATES)
    assert costs["updates"] == pytest.approx(0.12)


def test_table_on_the_real_emulator(
    pong: Game, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "FILL_STEPS", 100)
    args = options(f"{SMALL} --num_games 2")
    benchmark.run_benchmark(args, pong, seconds=0.01, peers=False)
    machine, rows, bound = capsys.readouterr().out.split("\n\n")
    assert re.search(r", \d+ cores, no GPU, torch \d", machine)
    assert "pong: 2 game(s) on" in machine
    values, ratios = {}, []
    for row in rows.splitlines():
        match = re.fullmatch(
            r"(.{20}) *([\d.,e+-]+) (GFLOP/s|GFLOP|GB/s|ms|steps/s|bytes)\b(.*)", row
        )
        assert match, row
        values[match[1].strip()] = float(match[2].replace(",", ""))
        ratios += [float(ratio) for ratio in re.findall(r"ratio .* ([\d.e+-]+)$", match[4])]
    assert list(values) == [
        "matrix product",
        "update, arithmetic",
        "update, floor",
        "memory copy",
        "update, weights",
        "update",
        *(["update, torch's"] if shutil.which("cc") else []),
        "predict 1",
        "predict 2",
        "predict 8",
        "predict 32",
        "bare engine",
        "random play",
        "sample",
        "training",
        "sample, full",
        "training, full",
        "replay memory",
    ]
    assert len(ratios) == 4
    for value in itertools.chain(values.values(), ratios):
        assert math.isfinite(value)
        assert value > 0
    assert values["replay memory"] == 36 * 36 + 6
    assert re.fullmatch(r"This machine is bound by \w+; .*\d%.*\n", bound)


def test_training_works_learn_and_play_at_the_fixed_rate(
    pong: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many updates as steps ask for, predictions in nine of ten steps, one step per unit."""
    monkeypatch.setattr(benchmark, "FILL_STEPS", 100)
    counts = {"updates": 0, "predictions": 0}
    args = options(f"{SMALL} --random_seed 0")
    threads = parts.choose_threads(args)
    environment = parts.make_environment(args, pong, threads, training=True)
    memory, full = (parts.make_memory(args, size, environment, threads) for size in (6000, 500))
    seen = environment.num_actions, environment.observation_shape
    network = parts.make_network(args, *seen, threads, 0)
    train, predict = network.train, network.predict

    def count_train(minibatch):  # type: ignore[no-untyped-def]
        counts["updates"] += 1
        train(minibatch)

    def count_predict(states):  # type: ignore[no-untyped-def]
        counts["predictions"] += 1
        return predict(states)

    monkeypatch.setattr(network, "train", count_train)
    monkeypatch.setattr(network, "predict", count_predict)
    monkeypatch.setattr(parts, "make_network", lambda *_: network)
    works = benchmark._own_works(args, threads, environment, memory, full)
    assert counts == {"updates": 0, "predictions": 0}
    assert len(memory) == 100
    works["random play"].run(50)
    assert counts == {"updates": 0, "predictions": 0}
    assert len(memory) == 150
    works["bare engine"].run(50)
    assert len(memory) == 150
    works["training"].run(30)
    assert len(memory) == 150 + 30 * works["training"].units == 270
    assert counts["updates"] == 30
    assert 95 < counts["predictions"] < 118
    works["update"].run(3)
    assert counts["updates"] == 33
    assert len(full) == 500
    works["training, full"].run(10)
    assert counts["updates"] == 43
    assert len(memory) == 270


def test_missing_peer_tells_how_to_install_it(
    pong: Game, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # import says: not there
    with pytest.raises(UserError, match=r"scripts/benchmark\.sh installs it.*pip install .*\["):
        benchmark.run_benchmark(options(SMALL), pong, seconds=0.01, peers=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["--environment gym", "--color_averaging true"])
def test_other_engines_are_refused(pong: Game, text: str) -> None:
    with pytest.raises(UserError, match="vector engine"):
        benchmark.run_benchmark(options(text), pong, seconds=0.01, peers=False)
