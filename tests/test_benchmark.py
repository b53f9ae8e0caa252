"""The benchmark: its arithmetic on paper, its table on the real emulator; no speeds."""

import re
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from test_main import refused

from simple_dqn.commands import benchmark
from simple_dqn.commands.benchmark import Work
from simple_dqn.environments.roms import find_game
from simple_dqn.main import main
from simple_dqn.options.command_line import make_parser
from simple_dqn.options.commands import COMMANDS
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.run.environments import make_environment

SMALL = "--backend cpu --screen_width 36 --screen_height 36 --replay_size 12000"


def options(text: str = "") -> Settings:
    """Settings as a command line gives them."""
    return Settings(**vars(make_parser(COMMANDS["train"]).parse_args(["pong", *text.split()])))


@pytest.mark.parametrize(
    ("text", "num_actions", "shape", "flops"),
    [
        # Multiplications of a state's forward pass: three convolutions, two matrices. An update
        # has two forward passes, and one backward towards weights and inputs, but for those of the
        # first layer. Double Q-learning adds a forward pass.
        ("", 6, (84, 84), 64 * (4 * (3276800 + 2654208 + 1806336 + 1605632 + 3072) - 3276800)),
        (
            "--history_length 2 --batch_size 5 --double_q true",
            3,
            (36, 36),
            10 * (5 * (262144 + 294912 + 36864 + 32768 + 1536) - 262144),
        ),
    ],
)
def test_update_flops(text: str, num_actions: int, shape: tuple[int, int], flops: int) -> None:
    assert benchmark.count_flops(options(text), num_actions, shape)[0] == flops


def test_works_take_turns_and_the_median_counts() -> None:
    """In the last turn of each the machine stumbles."""
    turns: list[tuple[str, float]] = []

    def work(name: str, seconds: float, units: int = 1) -> Work:
        def run(number: int) -> float:
            turns.append((name, number))
            last = len(turns) > warm_up + 2 * (benchmark.TURNS - 1)
            return number * seconds * (100 if last else 1)

        return Work(run, units)

    works = {"slow": work("slow", 0.25), "fast": work("fast", 0.001, units=8)}
    warm_up = 10**6
    benchmark.measure(works, seconds=10)
    warm_up = len(turns) - 2 * benchmark.TURNS
    turns.clear()
    rates = benchmark.measure(works, seconds=10)
    assert rates == pytest.approx({"slow": 4, "fast": 8000})
    # A turn takes its share of the time.
    assert turns[warm_up:] == [("slow", 8), ("fast", 2000)] * benchmark.TURNS


def test_what_torch_computes_has_as_many_threads_as_kernels() -> None:
    """That is the products and the peer, to compare with; beside kernels torch has one thread."""
    seen, threads = list[int](), torch.get_num_threads()
    benchmark._repeated(lambda: seen.append(torch.get_num_threads()), threads=threads + 1).run(1)
    assert [*seen, torch.get_num_threads()] == [threads + 1, threads]


RATES = {
    "matrix product": 200e9,
    "update": 25.0,  # 40 ms, so 10 ms a step
    "predict": 900.0,  # in 9 of 10 steps, so 1 ms a step
    "emulation": 1000.0,
    "training": 80.0,  # 12.5 ms a step
    "training, busy": 40.0,
}


def test_report_computes_ratios_and_names_the_bound() -> None:
    table = benchmark.lay_out(
        options(), {**RATES, benchmark.PEER: 50.0}, flops=(2_000_000_000, 16_000_000)
    )
    assert "matrix product           200 GFLOP/s" in table
    assert "update, floor             10 ms, 2 GFLOP / matrix product\n" in table
    assert "update                    40 ms, 25/s, ratio to floor 4\n" in table
    assert re.search(r"predict +1\.11 ms, 1 state", table)
    assert re.search(r"training +80 steps/s, .* predictions 0\.88\n", table)
    assert re.search(r"stable-baselines3 +50 steps/s, ratio ours to theirs 1\.6\n", table)
    assert re.search(r"training, busy +40 steps/s beside busy loops, ratio to alone 0\.5\n", table)
    assert re.search(r"passes +2,572 forward .*, 32\.1 a step\n", table)  # 125 / 4 + 0.9
    assert "bound by updates;" in table
    assert "updates 80%, predictions 8%, emulation 8%" in table


@pytest.mark.parametrize(
    ("text", "changed", "bound"),
    [
        ("--num_games 8", {"predict": 9.0}, "predictions 111%"),  # a prediction for 8 steps
        ("", {"emulation": 10.0}, "emulation 800%"),
        ("--train_frequency 1 --train_repeat 3", {}, "updates 960%"),
    ],
)
def test_the_slowest_part_bounds(text: str, changed: dict[str, float], bound: str) -> None:
    table = benchmark.lay_out(options(text), {**RATES, **changed}, flops=(1, 1))
    assert f"bound by {bound.split()[0]};" in table
    assert f"by itself: {bound}," in table


@pytest.mark.parametrize(
    "text",
    [
        "pong --num_games 2",
        "CartPole-v1 --environment gym --network 8",
        "CartPole-v1 --environment gym --network 8 --memory online --num_games 2 --target_steps 0",
    ],
)
def test_table_of_real_games(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(benchmark, "FILL_STEPS", 100)
    assert main(["benchmark", *text.split(), *SMALL.split(), "--seconds", "0.01"]) == 0
    machine, rows, bound = capsys.readouterr().out.split("\n\n")
    assert re.search(r", \d+ cores, no GPU, torch \d", machine)
    assert f"{text.split()[0]}: " in machine
    names = []
    for row in rows.splitlines():
        match = re.fullmatch(r"(.{20}) *([\d.,e+-]+) (GFLOP/s|ms|steps/s|forward)[, ].*", row)
        assert match, row
        names.append(match[1].strip())
        assert float(match[2].replace(",", "")) > 0
    measured = list(RATES)
    assert names == [measured[0], "update, floor", *measured[1:5], "passes", measured[5]]
    assert re.fullmatch(r"This machine is bound by \w+; .*\d%.*\n", bound)
    assert not list(root.rglob("*.csv"))


def test_training_learns_and_plays_at_the_fixed_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many updates as steps ask for, predictions in nine of ten steps, one step per unit."""
    monkeypatch.setattr(benchmark, "FILL_STEPS", 100)
    rate = f"--exploration_rate_start {benchmark.EXPLORATION_RATE} --exploration_rate_end 0.1"
    args = options(f"{SMALL} --random_seed 0 {rate}")
    threads = parts.choose_threads(args)
    environment = make_environment(
        args, find_game("pong", tmp_path), threads.environment, training=True
    )
    network = Mock(wraps=parts.make_network(args, 6, (36, 36), threads, 0))
    monkeypatch.setattr(parts, "make_network", lambda *_: network)
    works = benchmark._our_works(args, environment, threads)
    works["emulation"].run(50)
    assert not network.train.called
    assert not network.predict.called
    assert works["training"].units == 4
    works["training"].run(15)  # and 15 more that are not timed
    assert network.train.call_count == 30
    assert 95 < network.predict.call_count < 118
    works["update"].run(3)
    assert network.train.call_count == 33


def test_a_missing_peer_is_named(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # import finds nothing
    command = ["benchmark", "pong", *SMALL.split(), "--peers", "true"]
    assert "scripts/benchmark.sh installs it" in refused(capsys, 1, *command)
    command = ["benchmark", "CartPole-v1", "--environment", "gym", "--peers", "true"]
    assert "Atari games only" in refused(capsys, 1, *command)
    assert not list(root.rglob("*.csv"))
