"""The options of a run: one table, a row each, and `Settings`, the values that a run has.

The command line, presets, the headers of snapshots, Python code and the reference in
scripts/README.md read this table. Names are those of the original tool. Defaults are Nature DQN's
(Mnih et al. 2015, extended data table 1) where that has the option; other options are off.
scripts/README.md says more on many of them.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simple_dqn.options import kinds
from simple_dqn.options.kinds import BOOLEAN, PROBABILITY, Option, choice, integer, number

# Larger numbers have no use; their products fit into 64 bits, numbers with a point into 32.
_STEPS, _EPOCHS, _LARGEST = integer(0, 10**12), integer(0, 10**6), 1e38
_SOME_STEPS, _PIXELS = integer(1, 10**12), integer(36, 1024)
_REWARD, _RATE = number(-_LARGEST, _LARGEST), number(0, 1e30)
_LEVELS = choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_HEADS = choice("none", "c51", "hl_gauss", "qr", own_class=True)
_TARGETS = choice("max", "double", "expected", "munchausen", own_class=True)
_DATATYPES = choice("float16", "float32", "float64")
_ARITHMETICS = choice("float32", "bfloat16", "auto")
_OPTIMIZERS = choice("rmsprop", "adam", "adadelta", "radam")
_MEMORIES = choice("uniform", "prioritized", "online", own_class=True)
_LAYER_NORMS = choice("false", "true", "all")
_VIEWS, _DEVICES = choice("auto", "pictures"), choice("cpu", "gpu")
_SEEDS = integer(0, 2**32 - 1)
_FILE, _NAME = kinds.path("FILE"), kinds.text("NAME")


def option(default: Any, type: kinds.ValueType, help: str, role: str = "learn", **tags: Any) -> Any:
    """A row of the table below; `tags` are those of `Option`, `group` in a group's first row."""
    row = Option("", default, type, help, role, **tags)
    if row.positional and row.nargs is None:  # has to be given
        return dataclasses.field(metadata={"row": row})
    return dataclasses.field(default=default, metadata={"row": row})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all options of a run, each checked by its row.

    Raises:
        OptionError: an option has a value that it cannot have.
    """

    game: str = option(
        None, kinds.text("GAME"), "name, ROM file or id of the game", kept=False, positional=True
    )
    label: str | None = option(
        None, kinds.LABEL, "name of this run, for its files", kept=False, nargs="?", positional=True
    )

    environment: str = option(
        "ale", _NAME, "ale, gym, or your own class, module:Class", "play", group="environment"
    )
    environment_options: str = option(
        "{}", kinds.JSON, "keyword arguments of a Gymnasium or own environment", "play"
    )
    observations: str = option(
        "auto", _VIEWS, "what a Gymnasium game observes; pictures: what it renders", "play"
    )
    display_screen: bool = option(
        False, BOOLEAN, "show the first game in a window", "test", kept=False, suite=False
    )
    num_games: int = option(1, integer(1, 4096), "games that one network plays in step", "test")
    frame_skip: int = option(4, integer(1, 1000), "frames for which an action is repeated", "play")
    repeat_action_probability: float = option(
        0.0, PROBABILITY, "probability, per frame, of repeating the last action instead", "play"
    )
    minimal_action_set: bool = option(
        True, BOOLEAN, "only the game's own actions, not all 18 of Atari", "play"
    )
    color_averaging: bool = option(
        False, BOOLEAN, "average the last two frames instead of taking their maximum", "play"
    )
    screen_width: int = option(84, _PIXELS, "width of a screen after resizing, in pixels", "play")
    screen_height: int = option(84, _PIXELS, "height of a screen after resizing, in pixels", "play")

    replay_size: int = option(
        1_000_000, _SOME_STEPS, "steps in the memory, of all games together", group="replay memory"
    )
    history_length: int | None = option(
        None, integer(1, 16), "observations in a state (4 if these are screens, else 1)"
    )
    memory: str = option("uniform", _MEMORIES, "how transitions are drawn; online: no replay")
    stretch: int = option(32, _SOME_STEPS, "steps of each game between two lessons of online")
    trace_decay: float = option(0.65, PROBABILITY, "lambda of the returns of online")
    prioritized: bool = option(False, BOOLEAN, "draw transitions with a large error more often")
    priority_exponent: float = option(
        0.6, PROBABILITY, "power of the error that gives the priority; 0: all are equal"
    )
    importance_exponent: float = option(
        0.4, PROBABILITY, "initial correction of the prioritized draws; 0: none, 1: complete"
    )

    network: str = option(
        "nature", kinds.NETWORK, "nature, nips, mlp, or units of layers like 64,64", group="network"
    )
    learning_rate: float = option(0.00025, _RATE, "learning rate of the optimizer, per update")
    learning_rate_end: float | None = option(
        None, _RATE, "learning rate of the last epoch, reached linearly (the same)"
    )
    discount_rate: float = option(0.99, PROBABILITY, "factor of a reward per step of delay")
    target: str = option("max", _TARGETS, "value of the next state in a target")
    double_q: bool = option(False, BOOLEAN, "the network, not its target, chooses the next action")
    target_exploration_rate: float = option(
        0.0, PROBABILITY, "probability that a target's next action is random"
    )
    dueling: bool = option(False, BOOLEAN, "one stream for the state's value, one for advantages")
    distributional: str = option(
        "none", _HEADS, "learn the mean of returns, their distribution or quantiles"
    )
    n_step: int = option(1, integer(1, 100), "rewards that a target adds up before the next value")
    batch_size: int = option(32, integer(1, 65_536), "transitions in a minibatch")
    optimizer: str = option("rmsprop", _OPTIMIZERS, "optimizer of the network")
    decay_rate: float = option(
        0.95, PROBABILITY, "decay of the averages in rmsprop and adadelta, per update"
    )
    adam_epsilon: float = option(
        0.00015, number(0, 1e6, above=True), "added to the root of adam's mean squared gradient"
    )
    gradient_norm: float | None = option(
        None, number(0, _LARGEST, above=True), "largest norm of a minibatch's mean gradient"
    )
    clip_error: float = option(
        1.0, number(0, _LARGEST), "larger errors count linearly, not squared; 0: none do"
    )
    min_reward: float = option(-1.0, _REWARD, "smaller rewards are raised to it in learning")
    max_reward: float = option(1.0, _REWARD, "larger rewards are lowered to it in learning")
    terminal_reward: float | None = option(
        None, _REWARD, "reward in learning of a step that ends a game or a life"
    )
    batch_norm: bool = option(False, BOOLEAN, "batch normalization in the hidden layers")
    layer_norm: str = option(
        "false", _LAYER_NORMS, "layer normalization in the hidden layers; all: convolutions, too"
    )
    pixel_mean: float | str = option(
        0.0, kinds.MEAN, "number subtracted from pixels of 0 to 1; auto: their mean"
    )

    backend: str | None = option(
        None, _DEVICES, "device (the GPU if there is one)", "play", kept=False, group="backend"
    )
    device_id: int = option(0, integer(0, 1023), "number of the GPU, from 0 on", "play", kept=False)
    datatype: str = option("float32", _DATATYPES, "type of weights and arithmetic", "play")
    arithmetic: str = option(
        "float32", _ARITHMETICS, "of products in training; auto: bfloat16 on a CPU with AMX"
    )
    threads: int | None = option(
        None, integer(1, 1024), "threads of the network on a CPU (one per idle core)", suite=False
    )
    native_kernels: bool = option(
        True, BOOLEAN, "on a CPU, convolutions made by the machine's C compiler", "play", kept=False
    )
    stochastic_round: bool = option(
        False, kinds.NO_STOCHASTIC_ROUND, "only false: torch has no such rounding", kept=False
    )
    replay_device: str = option(
        "auto", choice("auto", "cpu", "gpu"), "where the replay memory keeps screens", kept=False
    )

    exploration_rate_start: float = option(
        1.0, PROBABILITY, "exploration rate at the first training step", group="agent"
    )
    exploration_rate_end: float | tuple[float, float] = option(
        0.1, kinds.RATES, "rate after the decay; a range is spread over the games"
    )
    exploration_decay_steps: int = option(
        1_000_000, _SOME_STEPS, "training steps from the first rate to the last"
    )
    exploration_repeat: int = option(1, integer(1, 10_000), "most steps that a random action lasts")
    exploration_rate_test: float = option(0.05, PROBABILITY, "exploration rate in tests", "play")
    train_frequency: int = option(4, _SOME_STEPS, "steps between trainings of the network")
    train_repeat: int = option(1, integer(1, 10_000), "minibatches in each training of the network")
    target_steps: int = option(
        10_000, _STEPS, "steps between copies to the target network; 0: there is none"
    )
    random_starts: int = option(
        30, integer(0, 10_000), "most frames without an action at an Atari game's start", "play"
    )

    random_steps: int = option(50_000, _STEPS, "steps of random play at first", group="main loop")
    train_steps: int = option(250_000, _STEPS, "training steps in an epoch")
    train_games: int = option(
        0, integer(0, 1_000_000), "games in an epoch; 0: an epoch lasts --train_steps"
    )
    test_steps: int = option(125_000, _STEPS, "test steps in an epoch", "test")
    test_games: int = option(
        0, integer(0, 1_000_000), "games in a test; 0: the test lasts --test_steps", "test"
    )
    epochs: int = option(200, _EPOCHS, "number of the last epoch, counted from 1")
    until_score: float | None = option(None, _REWARD, "end when a test's mean reward is this high")
    hours: float | None = option(None, _RATE, "end with the epoch in which the run gets this old")
    keep_snapshots: int | None = option(None, _SOME_STEPS, "snapshots kept: last N and best (all)")
    start_epoch: int = option(0, _EPOCHS, "epochs that count as done at first", "begin", kept=False)
    load_weights: Path | None = option(
        None, kinds.path("SNAPSHOT"), "snapshot to take the first weights from", "begin", kept=False
    )
    load_experience: tuple[Path, ...] = option(
        (), _FILE, "a person's games for the replay memory", kept=False, suite=False, nargs="+"
    )
    save_weights_prefix: Path | None = option(
        None,
        kinds.path("PREFIX"),
        "snapshots are PREFIX_<epoch>.safetensors",
        kept=False,
        suite=False,
    )
    csv_file: Path | None = option(
        None, _FILE, "file of statistics, a row for each phase", "test", kept=False, suite=False
    )
    tensorboard: Path | bool = option(
        False, kinds.FOLDER_OR_TRUTH, "write curves for TensorBoard, also into a FOLDER", kept=False
    )
    writer: tuple[str, ...] = option(
        (),
        choice("tensorboard", own_class=True),
        "what gets the rows besides the CSV file",
        kept=False,
        nargs="+",
    )
    save_memory: bool = option(True, BOOLEAN, "save the replay memory, so that resuming is exact")
    overwrite: bool = option(
        False, BOOLEAN, "replace existing files of the same name", "write", kept=False, suite=False
    )

    random_seed: int | None = option(
        None, _SEEDS, "seed of randomness (drawn and logged)", "play", suite=False, group="common"
    )
    log_games: bool = option(False, BOOLEAN, "log each game that ends", "test", kept=False)
    log_level: str = option("INFO", _LEVELS, "least serious messages on stderr", "play", kept=False)

    def __post_init__(self) -> None:
        """Check every value; text becomes the value that it means."""
        for row in OPTIONS:
            object.__setattr__(self, row.name, row.check(getattr(self, row.name)))

    def kept(self) -> dict[str, Any]:
        """Return the values that a snapshot keeps, by the name of the option."""
        return {row.name: getattr(self, row.name) for row in KEPT}


def _rows() -> tuple[Option, ...]:
    """Return the rows of the table above, each with its name and group."""
    rows: list[Option] = []
    for field in dataclasses.fields(Settings):
        row: Option = field.metadata["row"]
        group = row.group or (rows[-1].group if rows else "")
        rows.append(dataclasses.replace(row, name=field.name, group=group))
    return tuple(rows)


# With other values of these options, the weights of a network are useless.
OF_NETWORK = (
    *("network", "dueling", "distributional", "batch_norm", "layer_norm"),
    *("screen_width", "screen_height", "pixel_mean"),
)
OPTIONS = _rows()
# Of how long a run lasts and what it keeps, not of what it learns.
NOT_OF_LEARNING = {"epochs", "until_score", "hours", "keep_snapshots", "save_memory", "threads"}
KEPT = tuple(sorted((row for row in OPTIONS if row.kept), key=lambda row: row.name))
