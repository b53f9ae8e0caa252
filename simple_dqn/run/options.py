"""The command-line options of a run: names, meanings and defaults of the original tool.

The defaults are Nature DQN (Mnih et al. 2015, extended data table 1) and stand only here.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

# Options that belong to one command on one machine; a snapshot does not keep them.
NOT_KEPT = frozenset(
    {
        "backend",
        "csv_file",
        "device_id",
        "game",
        "label",
        "load_experience",
        "load_weights",
        "log_level",
        "native_kernels",
        "overwrite",
        "preset",
        "replay_device",
        "save_weights_prefix",
        "snapshot",
        "start_epoch",
        "stochastic_round",
    }
)


def boolean(text: str) -> bool:
    """`true` or `false`, nothing else."""
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Make a type for integers from `minimum` to `maximum`."""

    def parse(text: str) -> int:
        try:
            value = int(text.replace("_", "").replace(",", ""))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"{text} is out of range; it must be {bounds}")
        return value

    return parse


def number(
    minimum: float, maximum: float = math.inf, *, above: bool = False
) -> Callable[[str], float]:
    """Make a type for finite numbers from (or, with `above`, above) `minimum` to `maximum`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if (
            not math.isfinite(value)
            or not minimum <= value <= maximum
            or (above and value == minimum)
        ):
            lower = (
                ""
                if minimum == -math.inf
                else f"above {minimum:g}"
                if above
                else f"from {minimum:g}"
            )
            upper = "" if maximum == math.inf else f"to {maximum:g}"
            bounds = " ".join(bound for bound in (lower, upper) if bound) or "finite"
            raise argparse.ArgumentTypeError(f"{text} is out of range; it must be {bounds}")
        return value

    return parse


def label(text: str) -> str:
    """A label that can be part of a file name."""
    if not text or not all(letter.isalnum() or letter in "-_.+=" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r}: use letters, digits and - _ . + = only")
    return text


def _rates(text: str) -> float | list[float]:
    """A probability, or the lowest and the highest of several."""
    rates = [number(0, 1)(part) for part in text.split(",")]
    if len(rates) > 2 or rates != sorted(rates):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a rate nor a range LOW,HIGH")
    return rates if len(rates) == 2 else rates[0]


def _no_stochastic_round(_: str) -> bool:
    raise argparse.ArgumentTypeError(
        "stochastic rounding was Neon's and torch has none; leave it out"
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of a run, group by group."""
    probability = number(0, 1)

    group = parser.add_argument_group("environment")
    add = group.add_argument
    add(
        "--environment",
        choices=["ale", "gym"],
        default="ale",
        help="Atari games through ALE, or any Gymnasium environment with discrete actions",
    )
    add(
        "--num_games",
        type=integer(1, 4096),
        default=1,
        help="games played in step by one network (Nature: 1)",
    )
    add(
        "--frame_skip",
        type=integer(1),
        default=4,
        help="frames for which an action is repeated; a step is so many frames (Nature: 4)",
    )
    add(
        "--repeat_action_probability",
        type=probability,
        default=0.0,
        help="probability per frame that the emulator repeats the last action",
    )
    add(
        "--minimal_action_set",
        type=boolean,
        default=True,
        metavar="BOOL",
        help="offer only the actions that the game uses, else all 18",
    )
    add(
        "--color_averaging",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="average the last two frames, as the original tool did; else their maximum (Nature)",
    )
    add(
        "--screen_width",
        type=integer(36, 1024),
        default=84,
        help="pixels of a screen after resizing (Nature: 84)",
    )
    add(
        "--screen_height",
        type=integer(36, 1024),
        default=84,
        help="pixels of a screen after resizing (Nature: 84)",
    )

    group = parser.add_argument_group("replay memory")
    add = group.add_argument
    add(
        "--replay_size",
        type=integer(1),
        default=1_000_000,
        help="steps kept, of all games together; 7.06 GB a million at 84x84 (Nature: 1,000,000)",
    )
    add(
        "--history_length",
        type=integer(1, 16),
        default=4,
        help="latest screens that make a state (Nature: 4)",
    )
    add(
        "--prioritized",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="draw transitions by the size of their last error, else uniformly (Nature)",
    )
    add(
        "--priority_exponent",
        type=probability,
        default=0.6,
        help="power of the error's size in a priority; 0: uniform",
    )
    add(
        "--importance_exponent",
        type=probability,
        default=0.4,
        help="power of the weights against the bias of priorities; grows to 1 over all epochs",
    )

    group = parser.add_argument_group("network")
    add = group.add_argument
    add(
        "--network",
        choices=["nature", "nips", "mlp"],
        default="nature",
        help="nature: of the 2015 paper; nips: the smaller one of 2013; mlp: no convolutions",
    )
    add(
        "--learning_rate",
        type=number(0),
        default=0.00025,
        help="step size of the optimizer (Nature: 0.00025)",
    )
    add(
        "--learning_rate_end",
        type=number(0),
        metavar="RATE",
        help="of the last epoch, reached in equal steps; default: the learning rate stays",
    )
    add(
        "--discount_rate",
        type=probability,
        default=0.99,
        help="weight of a reward one step later (Nature: 0.99)",
    )
    add(
        "--double_q",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="Double Q-learning: the network chooses the next action, the target network judges it",
    )
    add(
        "--target_exploration_rate",
        type=probability,
        metavar="RATE",
        default=0.0,
        help="Expected SARSA: targets count on a random next action so often; 0: never (Nature)",
    )
    add(
        "--dueling",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="dueling network: one stream for the state's value, one for the actions' advantages",
    )
    add(
        "--distributional",
        choices=["none", "c51"],
        default="none",
        help="c51: learn the distribution of returns, 51 atoms on +-10; --clip_error has no part",
    )
    add(
        "--n_step",
        type=integer(1, 100),
        default=1,
        help="steps whose rewards count before the next state's value does (Nature: 1)",
    )
    add("--batch_size", type=integer(1), default=32, help="transitions in a minibatch (Nature: 32)")
    add(
        "--optimizer",
        choices=["rmsprop", "adam", "adadelta"],
        default="rmsprop",
        help="rmsprop is the paper's own, after Graves 2013",
    )
    add(
        "--decay_rate",
        type=number(0, 1),
        default=0.95,
        help="of running averages, per update; rmsprop and adadelta (Nature: 0.95)",
    )
    add(
        "--adam_epsilon",
        type=number(0, above=True),
        default=0.00015,
        help="added to adam's root of the mean squared gradient; slows where those are smaller",
    )
    add(
        "--clip_error",
        type=number(0),
        default=1.0,
        help="errors count in the gradient up to this; 0: in full (Nature: 1)",
    )
    add(
        "--min_reward",
        type=number(-math.inf),
        default=-1.0,
        help="rewards below are raised to this for learning (Nature: -1)",
    )
    add(
        "--max_reward",
        type=number(-math.inf),
        default=1.0,
        help="rewards above are lowered to this for learning (Nature: 1)",
    )
    add(
        "--batch_norm",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="batch normalisation in the hidden layers",
    )
    add(
        "--pixel_mean",
        type=probability,
        default=0.0,
        help="subtracted from pixels from 0 to 1; near a game's mean it helps learning (Nature: 0)",
    )

    group = parser.add_argument_group("backend")
    add = group.add_argument
    add(
        "--backend",
        choices=["cpu", "gpu"],
        default=None,
        help="where the network computes; default: the GPU where there is one",
    )
    add("--device_id", type=integer(0), default=0, help="which GPU")
    add(
        "--datatype",
        choices=["float16", "float32", "float64"],
        default="float32",
        help="of the network's weights and arithmetic",
    )
    add(
        "--native_kernels",
        type=boolean,
        default=True,
        metavar="BOOL",
        help="on the CPU: compile the network's convolutions with the C compiler, if there is one",
    )
    add(
        "--stochastic_round",
        type=_no_stochastic_round,
        nargs="?",
        const="",
        default=False,
        metavar="BOOL",
        help="of the original's Neon backend; refused",
    )
    add(
        "--replay_device",
        choices=["auto", "cpu", "gpu"],
        default="auto",
        help="where the replay memory keeps its screens; auto: with the network, if they fit",
    )

    group = parser.add_argument_group("agent")
    add = group.add_argument
    add(
        "--exploration_rate_start",
        type=probability,
        default=1.0,
        help="exploration rate at the first training step (Nature: 1)",
    )
    add(
        "--exploration_rate_end",
        type=_rates,
        default=0.1,
        metavar="RATE|LOW,HIGH",
        help="exploration rate after the decay, or a range spread over the games (Nature: 0.1)",
    )
    add(
        "--exploration_decay_steps",
        type=integer(1),
        default=1_000_000,
        help="training steps of the linear decay (Nature: 1,000,000)",
    )
    add(
        "--exploration_rate_test",
        type=probability,
        default=0.05,
        help="exploration rate in tests (Nature: 0.05)",
    )
    add(
        "--train_frequency",
        type=integer(1),
        default=4,
        help="steps from one training of the network to the next (Nature: 4)",
    )
    add("--train_repeat", type=integer(1), default=1, help="minibatches each time")
    add(
        "--target_steps",
        type=integer(0),
        default=10_000,
        help="steps between copies to the target network; 0: no such network (Nature: 10,000)",
    )
    add(
        "--random_starts",
        type=integer(0, 10_000),
        default=30,
        help="most no-op frames at the start of an Atari game (Nature: 30)",
    )

    group = parser.add_argument_group("main loop")
    add = group.add_argument
    add(
        "--random_steps",
        type=integer(0),
        default=50_000,
        help="steps of random play before training (Nature: 50,000)",
    )
    add(
        "--train_steps",
        type=integer(0),
        default=250_000,
        help="training steps of an epoch (Nature: 250,000)",
    )
    add(
        "--test_steps",
        type=integer(0),
        default=125_000,
        help="test steps of an epoch (Nature: 125,000)",
    )
    add(
        "--test_games",
        type=integer(0),
        default=0,
        help="test so many whole games (Nature's final test: 30); 0: test by steps",
    )
    add("--epochs", type=integer(0), default=200, help="epochs in all (Nature: 200)")
    add(
        "--start_epoch",
        type=integer(0),
        default=0,
        help="epochs taken as done already: numbers and exploration rate go on from there",
    )
    add(
        "--load_weights", type=Path, metavar="SNAPSHOT", help="begin with the weights of a snapshot"
    )
    add(
        "--load_experience",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="fill the replay memory with games of a person, too; from play.sh --record_experience",
    )
    add(
        "--save_weights_prefix",
        type=Path,
        metavar="PREFIX",
        help="snapshots are PREFIX_<epoch>.safetensors; default: snapshots/<game>[_<label>]",
    )
    add(
        "--csv_file",
        type=Path,
        metavar="FILE",
        help="statistics, a row per phase; default when training: results/<game>[_<label>].csv",
    )
    add(
        "--overwrite",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="replace the files of an earlier run of the same name",
    )
    add(
        "--preset",
        metavar="NAME|FILE",
        help="option values below the command line's: a TOML file, or nature, laptop, gpu",
    )

    group = parser.add_argument_group("common")
    add = group.add_argument
    add(
        "--random_seed",
        type=integer(0, 2**32 - 1),
        default=None,
        help="all randomness comes from it, 0 included; default: drawn and logged",
    )
    add(
        "--log_level",
        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        default="INFO",
        help="least serious messages shown on stderr",
    )
