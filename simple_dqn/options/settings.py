"""The options of a run: one table, a row each, and `Settings`, the values that a run has.

A row says the name, default, kind of value and meaning of an option. The command line, presets, the
headers of snapshots, Python code and the reference in scripts/README.md all read this table. Names,
meanings and defaults are those of the original tool; the defaults are Nature DQN (Mnih et al. 2015,
extended data table 1) and stand only here.
"""

import dataclasses
import decimal
import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simple_dqn.errors import OptionError


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        check: takes a value or its text, returns the value; raises ArgumentTypeError for others.
        metavar: the word that stands for a value in help texts.
    """

    check: Callable[[Any], Any]
    metavar: str

    def __call__(self, value: object) -> Any:
        """Check a value."""
        return self.check(value)


@dataclass(frozen=True)
class Option:
    """A row of a table of options.

    Attributes:
        name: without dashes.
        default: value where nothing is said; None: there is no value then.
        kind: of its values.
        help: what the value is, with its unit.
        group: heading above it; "" belongs to the command itself.
        kept: whether a snapshot keeps it; other options belong to one command on one machine.
        nargs: argparse's number of values: None is one, "+" several, "?" may be left out.
        positional: given by its place on the command line, not by its name.
    """

    name: str
    default: Any
    kind: Kind
    help: str
    group: str = ""
    kept: bool = True
    nargs: str | None = None
    positional: bool = False

    def check(self, value: object) -> Any:
        """The value that a value or its text means.

        Raises:
            OptionError: it means none.
        """
        required = self.positional and self.nargs is None
        if value is None and self.default is None and not required:
            return None
        try:
            if self.nargs == "+":
                several = value if isinstance(value, list | tuple) else [value]
                return tuple(self.kind(each) for each in several)
            return self.kind(value)
        except ArgumentTypeError as error:
            name = self.name if self.positional else f"--{self.name}"
            raise OptionError(f"{name}: {error}") from error


def as_text(value: object) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(as_text(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def integer(minimum: int, maximum: int) -> Kind:
    """Whole numbers from `minimum` to `maximum`; also written 1_000_000, 1,000,000 or 1e6."""

    def check(value: object) -> int:
        text = str(value)
        if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text):
            text = text.replace(",", "")
        try:
            exact = decimal.Decimal(text)
        except decimal.InvalidOperation:
            exact = decimal.Decimal("nan")
        if not exact.is_finite() or (exact.adjusted() < 18 and exact != exact.to_integral_value()):
            raise ArgumentTypeError(f"{text!r} is not a whole number")
        # NB! 1e999999999 is a whole number that no memory holds.
        if exact.adjusted() > 18 or not minimum <= exact <= maximum:
            raise ArgumentTypeError(
                f"{text} is out of range; it must be {minimum:,} to {maximum:,}"
            )
        return int(exact)

    return Kind(check, "N")


def number(minimum: float, maximum: float, *, above: bool = False) -> Kind:
    """Finite numbers from (or, with `above`, above) `minimum` to `maximum`."""

    def check(value: object) -> float:
        try:
            exact = float(str(value))
        except ValueError:
            raise ArgumentTypeError(f"{str(value)!r} is not a number") from None
        inside = minimum < exact <= maximum if above else minimum <= exact <= maximum
        if not inside:  # so is nan
            lower = "above" if above else "from"
            raise ArgumentTypeError(
                f"{value} is out of range; it must be {lower} {minimum:g} to {maximum:g}"
            )
        return exact

    return Kind(check, "X")


def choice(*names: str) -> Kind:
    """One of some words."""

    def check(value: object) -> str:
        if value not in names:
            raise ArgumentTypeError(f"{str(value)!r} is none of {', '.join(names)}")
        return str(value)

    return Kind(check, "{" + ",".join(names) + "}")


def named(*names: str) -> Kind:
    """One of some names, or a person's own class, `module:Class`."""

    def check(value: object) -> str:
        text = str(value)
        if text not in names and not re.fullmatch(r"[\w.]+:\w+", text):
            raise ArgumentTypeError(
                f"{text!r} is neither one of {', '.join(names)} nor a class, module:Class"
            )
        return text

    return Kind(check, f"{{{','.join(names)},module:Class}}")


def _boolean(value: object) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ArgumentTypeError(f"{str(value)!r} is neither true nor false")
    return words[str(value).lower()]


def _rates(value: object) -> float | tuple[float, float]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    rates = [PROBABILITY(part) for part in parts]
    if not rates or len(rates) > 2 or rates != sorted(rates):
        raise ArgumentTypeError(f"{str(value)!r} is neither a rate nor a range LOW,HIGH")
    return (rates[0], rates[1]) if len(rates) == 2 else float(rates[0])


def _mean(value: object) -> float | str:
    return "auto" if value == "auto" else float(PROBABILITY(value))


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ArgumentTypeError(f"{value!r} is no file name")
    return Path(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ArgumentTypeError(f"{value!r} is no name")
    return value


def _network(value: object) -> str:
    text = str(value)
    layers = re.fullmatch(r"[1-9]\d{0,4}(,[1-9]\d{0,4})*", text)
    if text not in {"nature", "nips", "mlp"} and not layers:
        raise ArgumentTypeError(
            f"{text!r} is none of nature, nips, mlp, and no list of layers like 64,64"
        )
    return text


def _json_object(value: object) -> str:
    """JSON text of an object, or the object itself as Python knows it; the result is its text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArgumentTypeError(
            f"""{str(value)!r} is no JSON object such as '{{"is_slippery": false}}'"""
        )
    return json.dumps(found)


def _folder_or_truth(value: object) -> Path | bool:
    try:
        return _boolean(value)
    except ArgumentTypeError:
        return _path(value)


def _label(value: object) -> str:
    text = str(value)
    if not text or not all(letter.isalnum() or letter in "-_.+=" for letter in text):
        raise ArgumentTypeError(f"{text!r}: use letters, digits and - _ . + = only")
    return text


def _no_stochastic_round(value: object) -> bool:
    if str(value).lower() not in {"false", "no", "0"}:
        raise ArgumentTypeError("stochastic rounding was Neon's and torch has none; leave it out")
    return False


def path(metavar: str) -> Kind:
    """Names of files or folders."""
    return Kind(_path, metavar)


BOOLEAN = Kind(_boolean, "BOOL")  # true or false, yes or no, 1 or 0
PROBABILITY = number(0, 1)
# Larger numbers have no use; their products fit into 64 bits, numbers with a point into 32.
_STEPS, _EPOCHS, _LARGEST = 10**12, 10**6, 1e38
TEXT = Kind(_text, "NAME")


def option(
    default: Any,
    kind: Kind,
    meaning: str,
    *,
    group: str = "",
    kept: bool = True,
    nargs: str | None = None,
    positional: bool = False,
) -> Any:
    """A row of the table below; `group` stands in the first row of each group."""
    row = Option("", default, kind, meaning, group, kept, nargs, positional)
    if positional and nargs is None:  # has to be given
        return dataclasses.field(metadata={"row": row})
    return dataclasses.field(default=default, metadata={"row": row})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all options of a run, each checked by its row.

    Raises:
        OptionError: an option has a value that it cannot have.
    """

    game: str = option(
        None,
        Kind(_text, "GAME"),
        "name of the game (pong), its ROM file (roms/pong.bin) or its id (ALE/Pong-v5); with "
        "--environment gym the id of any Gymnasium environment with discrete actions",
        kept=False,
        positional=True,
    )
    label: str | None = option(
        None,
        Kind(_label, "LABEL"),
        "name that distinguishes the files of this run from those of other runs of the game",
        kept=False,
        nargs="?",
        positional=True,
    )

    environment: str = option(
        "ale",
        TEXT,
        "kind of environment: ale is an Atari game in the Arcade Learning Environment, gym is a "
        "Gymnasium environment with discrete actions, module:Class is a subclass of Environment in "
        "a module of yours",
        group="environment",
    )
    environment_options: str = option(
        "{}",
        Kind(_json_object, "JSON"),
        "keyword arguments of a Gymnasium environment or of your own class, as a JSON object: "
        """'{"is_slippery": false}'""",
    )
    observations: str = option(
        "auto",
        choice("auto", "pictures"),
        "what a network sees of a Gymnasium environment: auto is what the environment observes, "
        "pictures is what it renders",
    )
    display_screen: bool = option(
        False,
        BOOLEAN,
        "true: train, resume and test show the first game in a window; closing the window does not "
        "stop them",
        kept=False,
    )
    num_games: int = option(
        1, integer(1, 4096), "number of games that one network plays in step (Nature: 1)"
    )
    frame_skip: int = option(
        4,
        integer(1, 1000),
        "number of frames for which the emulator repeats an action; one step is so many frames "
        "(Nature: 4)",
    )
    repeat_action_probability: float = option(
        0.0,
        PROBABILITY,
        "probability, per frame, that the emulator repeats the previous action instead of the "
        "chosen one",
    )
    minimal_action_set: bool = option(
        True, BOOLEAN, "true: only the actions that the game uses; false: all 18 actions of Atari"
    )
    color_averaging: bool = option(
        False,
        BOOLEAN,
        "true: a screen is the average of the last two frames, as in the original tool; false: it "
        "is their maximum (Nature)",
    )
    screen_width: int = option(
        84, integer(36, 1024), "width of a screen after resizing, in pixels (Nature: 84)"
    )
    screen_height: int = option(
        84, integer(36, 1024), "height of a screen after resizing, in pixels (Nature: 84)"
    )

    replay_size: int = option(
        1_000_000,
        integer(1, _STEPS),
        "number of steps that the replay memory keeps, of all games together; 1,000,000 steps of "
        "84x84 pixels take 7.06 GB (Nature: 1,000,000)",
        group="replay memory",
    )
    history_length: int | None = option(
        None,
        integer(1, 16),
        "number of observations, the latest ones, that make up a state; without this option it is "
        "4 where observations are screens (Nature: 4), else 1",
    )
    memory: str = option(
        "uniform",
        named("uniform", "prioritized"),
        "how transitions are drawn: all equally often, or as with --prioritized true",
    )
    prioritized: bool = option(
        False,
        BOOLEAN,
        "true: transitions with a large last error are drawn more often than others; false: all "
        "are drawn equally often (Nature)",
    )
    priority_exponent: float = option(
        0.6,
        PROBABILITY,
        "power to which the error of a transition is raised to give its priority; with 0 all "
        "priorities are equal",
    )
    importance_exponent: float = option(
        0.4,
        PROBABILITY,
        "power of the weights that correct the bias of prioritized draws, at the start of "
        "training; it grows linearly to 1 at the end of the last epoch",
    )

    network: str = option(
        "nature",
        Kind(_network, "NAME|N,N"),
        "architecture of the network: nature is that of the 2015 paper, nips is the smaller one of "
        "the 2013 paper, mlp is two hidden layers of 24 units without convolutions, and 64,64 "
        "would be two hidden layers of 64",
        group="network",
    )
    learning_rate: float = option(
        0.00025, number(0, 1e30), "learning rate of the optimizer, per update (Nature: 0.00025)"
    )
    learning_rate_end: float | None = option(
        None,
        number(0, 1e30),
        "learning rate of the last epoch, reached in equal steps from epoch to epoch; without this "
        "option the learning rate stays the same (Nature)",
    )
    discount_rate: float = option(
        0.99,
        PROBABILITY,
        "factor by which a reward counts less for each step that it comes later (Nature: 0.99)",
    )
    double_q: bool = option(
        False,
        BOOLEAN,
        "true: Double Q-learning, in which the network chooses the next action and the target "
        "network tells its value; false: the target network does both (Nature)",
    )
    target_exploration_rate: float = option(
        0.0,
        PROBABILITY,
        "probability with which a target assumes that the next action is a random one (Expected "
        "SARSA); with 0 a target assumes the best action (Nature)",
    )
    dueling: bool = option(
        False,
        BOOLEAN,
        "true: dueling network, with one stream for the value of the state and one for the "
        "advantages of the actions",
    )
    target: str = option(
        "max",
        named("max", "double", "expected", "munchausen"),
        "value of the next state in a target: max is DQN's, double is --double_q true, expected "
        "needs --target_exploration_rate, munchausen adds the scaled log-policy to the reward",
    )
    distributional: str = option(
        "none",
        named("none", "c51", "qr"),
        "what the network learns: none is the mean return (Nature), c51 is the distribution of the "
        "return over 51 values from -10 to 10, for which --clip_error has no meaning, qr is 51 "
        "quantiles of the return",
    )
    n_step: int = option(
        1,
        integer(1, 100),
        "number of steps whose rewards a target adds up before it adds the value of the state that "
        "follows them (Nature: 1)",
    )
    batch_size: int = option(
        32, integer(1, 65_536), "number of transitions in a minibatch (Nature: 32)"
    )
    optimizer: str = option(
        "rmsprop",
        choice("rmsprop", "adam", "adadelta"),
        "optimizer of the network; rmsprop is the paper's own variant, after Graves 2013 (Nature: "
        "rmsprop)",
    )
    decay_rate: float = option(
        0.95,
        PROBABILITY,
        "decay rate of the running averages in rmsprop and adadelta, per update (Nature: 0.95)",
    )
    adam_epsilon: float = option(
        0.00015,
        number(0, 1e6, above=True),
        "number that adam adds to the root of the mean squared gradient; a weight whose gradients "
        "are smaller than this number learns slowly",
    )
    clip_error: float = option(
        1.0,
        number(0, _LARGEST),
        "limit up to which the error of a transition counts in the gradient; with 0 there is no "
        "limit (Nature: 1); with --distributional qr an error of this size counts as 1, and with 0 "
        "every error does",
    )
    min_reward: float = option(
        -1.0,
        number(-_LARGEST, _LARGEST),
        "smallest reward in learning; smaller rewards are raised to it (Nature: -1)",
    )
    max_reward: float = option(
        1.0,
        number(-_LARGEST, _LARGEST),
        "largest reward in learning; larger rewards are lowered to it (Nature: 1)",
    )
    terminal_reward: float | None = option(
        None,
        number(-_LARGEST, _LARGEST),
        "reward in learning of a step after which the game (or, in Atari, the life) is over, in "
        "place of the game's own and not clipped; a time limit's cut is no such end, and scores "
        "stay the game's own",
    )
    batch_norm: bool = option(False, BOOLEAN, "true: batch normalization in the hidden layers")
    pixel_mean: float | str = option(
        0.0,
        Kind(_mean, "X|auto"),
        "number that is subtracted from each pixel, on the scale from 0 to 1; a number near the "
        "mean of the game's pixels helps learning; auto is the mean in the random phase (Nature: "
        "0)",
    )

    backend: str | None = option(
        None,
        choice("cpu", "gpu"),
        "device on which the network computes; without this option it is the GPU if there is one, "
        "else the CPU",
        group="backend",
        kept=False,
    )
    device_id: int = option(0, integer(0, 1023), "number of the GPU, counted from 0", kept=False)
    datatype: str = option(
        "float32",
        choice("float16", "float32", "float64"),
        "data type of the network's weights and of its arithmetic",
    )
    native_kernels: bool = option(
        True,
        BOOLEAN,
        "true: on the CPU a C compiler, if there is one, compiles convolutions made for the "
        "network's shapes; false: the convolutions are torch's own",
        kept=False,
    )
    stochastic_round: bool = option(
        False,
        Kind(_no_stochastic_round, "BOOL"),
        "stochastic rounding of the original tool's Neon backend; only false is accepted, because "
        "torch has no such rounding",
        kept=False,
        nargs="?",
    )
    replay_device: str = option(
        "auto",
        choice("auto", "cpu", "gpu"),
        "memory in which the replay memory keeps its screens: cpu is the main memory, gpu is the "
        "GPU's memory, auto is the GPU's memory if the network is there and the screens fit",
        kept=False,
    )

    exploration_rate_start: float = option(
        1.0,
        PROBABILITY,
        "exploration rate at the first training step (Nature: 1)",
        group="agent",
    )
    exploration_rate_end: float | tuple[float, float] = option(
        0.1,
        Kind(_rates, "X|LOW,HIGH"),
        "exploration rate after the decay; a range LOW,HIGH is spread evenly over the games "
        "(Nature: 0.1)",
    )
    exploration_decay_steps: int = option(
        1_000_000,
        integer(1, _STEPS),
        "number of training steps over which the exploration rate goes linearly from its start to "
        "its end (Nature: 1,000,000)",
    )
    exploration_repeat: int = option(
        1,
        integer(1, 10_000),
        "largest number of steps for which a random action is kept, except in tests; most are kept "
        "for one step, few for many (the paper of this idea: 100; Nature: 1)",
    )
    exploration_rate_test: float = option(
        0.05, PROBABILITY, "exploration rate in tests (Nature: 0.05)"
    )
    train_frequency: int = option(
        4,
        integer(1, _STEPS),
        "number of steps from one training of the network to the next (Nature: 4)",
    )
    train_repeat: int = option(
        1, integer(1, 10_000), "number of minibatches in each training of the network (Nature: 1)"
    )
    target_steps: int = option(
        10_000,
        integer(0, _STEPS),
        "number of steps from one copy of the network to the target network to the next; with 0 "
        "there is no target network (Nature: 10,000)",
    )
    random_starts: int = option(
        30,
        integer(0, 10_000),
        "largest number of frames without an action at the start of an Atari game (Nature: 30)",
    )

    random_steps: int = option(
        50_000,
        integer(0, _STEPS),
        "number of steps of random play before training (Nature: 50,000)",
        group="main loop",
    )
    train_steps: int = option(
        250_000, integer(0, _STEPS), "number of training steps in an epoch (Nature: 250,000)"
    )
    test_steps: int = option(
        125_000, integer(0, _STEPS), "number of test steps in an epoch (Nature: 125,000)"
    )
    test_games: int = option(
        0,
        integer(0, 1_000_000),
        "number of whole games in a test (30 in Nature's final test); with 0 the test lasts "
        "--test_steps",
    )
    epochs: int = option(
        200, integer(0, _EPOCHS), "number of the last epoch, counted from 1 (Nature: 200)"
    )
    start_epoch: int = option(
        0,
        integer(0, _EPOCHS),
        "number of epochs that count as done at the start; the numbers of the epochs and the "
        "exploration rate continue from there",
        kept=False,
    )
    load_weights: Path | None = option(
        None,
        path("SNAPSHOT"),
        "snapshot whose weights the network has at the start",
        kept=False,
    )
    load_experience: tuple[Path, ...] = option(
        (),
        path("FILE"),
        "files of games that a person played, which are put into the replay memory before "
        "training; scripts/play.sh --record_experience FILE writes such files",
        kept=False,
        nargs="+",
    )
    save_weights_prefix: Path | None = option(
        None,
        path("PREFIX"),
        "beginning of the names of the snapshots, PREFIX_<epoch>.safetensors; without this option "
        "it is snapshots/<game>[_<label>]",
        kept=False,
    )
    csv_file: Path | None = option(
        None,
        path("FILE"),
        "file of the statistics, with a row for each phase; without this option train and resume "
        "write results/<game>[_<label>].csv and test writes no file",
        kept=False,
    )
    tensorboard: Path | bool = option(
        False,
        Kind(_folder_or_truth, "BOOL|FOLDER"),
        "true: train and resume write curves for TensorBoard, into a folder of the run's name in "
        "the folder tensorboard beside the CSV file; FOLDER: into a folder of the run's name there",
        kept=False,
    )
    writer: tuple[str, ...] = option(
        (),
        named("tensorboard"),
        "who gets the rows of the statistics, besides the CSV file",
        kept=False,
        nargs="+",
    )
    save_memory: bool = option(
        True,
        BOOLEAN,
        "true: the replay memory is saved beside the snapshots, so that a resumed run goes on "
        "exactly; a step of an Atari game takes some 30 to 250 bytes",
    )
    overwrite: bool = option(
        False, BOOLEAN, "true: existing files of the same name are replaced", kept=False
    )

    random_seed: int | None = option(
        None,
        integer(0, 2**32 - 1),
        "seed of everything that is random, from 0 on; without this option it is drawn and logged",
        group="common",
    )
    log_games: bool = option(
        False,
        BOOLEAN,
        "true: a line for each game that ends, with its score and the exploration rate",
        kept=False,
    )
    log_level: str = option(
        "INFO",
        choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "least serious kind of message that appears on stderr",
        kept=False,
    )

    def __post_init__(self) -> None:
        """Check every value; text becomes the value that it means."""
        for row in OPTIONS:
            object.__setattr__(self, row.name, row.check(getattr(self, row.name)))

    def kept(self) -> dict[str, Any]:
        """The values that a snapshot keeps, by the name of the option."""
        return {row.name: getattr(self, row.name) for row in KEPT}


def _rows() -> tuple[Option, ...]:
    """The table above."""
    rows: list[Option] = []
    for field in dataclasses.fields(Settings):
        row: Option = field.metadata["row"]
        group = row.group or (rows[-1].group if rows else "")
        rows.append(dataclasses.replace(row, name=field.name, group=group))
    return tuple(rows)


OPTIONS = _rows()
KEPT = tuple(sorted((row for row in OPTIONS if row.kept), key=lambda row: row.name))
