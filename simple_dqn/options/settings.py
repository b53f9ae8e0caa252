"""The options of a run: one table, a row each, and `Settings`, the values that a run has.

The command line, presets, the headers of snapshots, Python code and the reference in
scripts/README.md read this table. Names and defaults are those of the original tool and of Nature
DQN (Mnih et al. 2015, extended data table 1). scripts/README.md says more on many of them.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simple_dqn.options import kinds
from simple_dqn.options.kinds import (
    BOOLEAN,
    PROBABILITY,
    Kind,
    Option,
    choice,
    integer,
    named,
    number,
    path,
)

# Larger numbers have no use; their products fit into 64 bits, numbers with a point into 32.
_STEPS, _EPOCHS, _LARGEST = 10**12, 10**6, 1e38
_REWARD = number(-_LARGEST, _LARGEST)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def option(default: Any, kind: Kind, meaning: str, **tags: Any) -> Any:
    """A row of the table below; its tags are those of `Option`, `group` in a group's first row."""
    row = Option("", default, kind, meaning, **tags)
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
        None, kinds.GAME, "name, ROM file or id of the game", kept=False, positional=True
    )
    label: str | None = option(
        None,
        kinds.LABEL,
        "name of this run among those of the game",
        kept=False,
        nargs="?",
        positional=True,
    )

    environment: str = option(
        "ale",
        kinds.TEXT,
        "ale, gym, or your own Environment, module:Class",
        group="environment",
        role="play",
    )
    environment_options: str = option(
        "{}", kinds.JSON, "keyword arguments of a Gymnasium or own environment", role="play"
    )
    observations: str = option(
        "auto",
        choice("auto", "pictures"),
        "what Gymnasium's games show: observations or renderings",
        role="play",
    )
    display_screen: bool = option(
        False, BOOLEAN, "show the first game in a window", kept=False, role="test"
    )
    num_games: int = option(
        1, integer(1, 4096), "games that one network plays in step", role="test"
    )
    frame_skip: int = option(
        4, integer(1, 1000), "frames for which the emulator repeats an action", role="play"
    )
    repeat_action_probability: float = option(
        0.0, PROBABILITY, "probability, per frame, of repeating the last action", role="play"
    )
    minimal_action_set: bool = option(
        True, BOOLEAN, "only the game's own actions, not all 18 of Atari", role="play"
    )
    color_averaging: bool = option(
        False, BOOLEAN, "average the last two frames instead of their maximum", role="play"
    )
    screen_width: int = option(
        84, integer(36, 1024), "width of a screen after resizing, in pixels", role="play"
    )
    screen_height: int = option(
        84, integer(36, 1024), "height of a screen after resizing, in pixels", role="play"
    )

    replay_size: int = option(
        1_000_000,
        integer(1, _STEPS),
        "steps in the replay memory, of all games together",
        group="replay memory",
    )
    history_length: int | None = option(
        None, integer(1, 16), "observations in a state (4 if these are screens, else 1)"
    )
    memory: str = option("uniform", named("uniform", "prioritized"), "how transitions are drawn")
    prioritized: bool = option(False, BOOLEAN, "draw transitions with a large error more often")
    priority_exponent: float = option(
        0.6, PROBABILITY, "exponent of the error that gives the priority"
    )
    importance_exponent: float = option(
        0.4, PROBABILITY, "first exponent of the importance weights; the last is 1"
    )

    network: str = option(
        "nature",
        kinds.NETWORK,
        "nature, nips, mlp, or units of hidden layers, 64,64",
        group="network",
    )
    learning_rate: float = option(
        0.00025, number(0, 1e30), "learning rate of the optimizer, per update"
    )
    learning_rate_end: float | None = option(
        None, number(0, 1e30), "learning rate of the last epoch, reached linearly"
    )
    discount_rate: float = option(
        0.99, PROBABILITY, "factor by which each step lowers a later reward"
    )
    target: str = option(
        "max",
        named("max", "double", "expected", "munchausen"),
        "value of the next state in a target",
    )
    double_q: bool = option(False, BOOLEAN, "the network chooses the action that its target values")
    target_exploration_rate: float = option(
        0.0, PROBABILITY, "probability that a target's next action is random"
    )
    dueling: bool = option(False, BOOLEAN, "one stream for the state's value, one for advantages")
    distributional: str = option(
        "none", named("none", "c51", "qr"), "learn the mean, a distribution or quantiles"
    )
    n_step: int = option(1, integer(1, 100), "rewards that a target adds up before the next value")
    batch_size: int = option(32, integer(1, 65_536), "transitions in a minibatch")
    optimizer: str = option(
        "rmsprop", choice("rmsprop", "adam", "adadelta"), "optimizer of the network"
    )
    decay_rate: float = option(
        0.95, PROBABILITY, "decay of the averages in rmsprop and adadelta, per update"
    )
    adam_epsilon: float = option(
        0.00015,
        number(0, 1e6, above=True),
        "adam's addend to the root of the mean squared gradient",
    )
    clip_error: float = option(
        1.0, number(0, _LARGEST), "largest error whose square counts; 0: all squares count"
    )
    min_reward: float = option(
        -1.0, _REWARD, "smaller rewards are raised to this number in learning"
    )
    max_reward: float = option(
        1.0, _REWARD, "larger rewards are lowered to this number in learning"
    )
    terminal_reward: float | None = option(
        None, _REWARD, "reward in learning of a step that ends a game or life"
    )
    batch_norm: bool = option(False, BOOLEAN, "batch normalization in the hidden layers")
    pixel_mean: float | str = option(
        0.0, kinds.MEAN, "subtracted from pixels of 0 to 1; auto: measured"
    )

    backend: str | None = option(
        None,
        choice("cpu", "gpu"),
        "device of the network (the GPU if there is one)",
        group="backend",
        kept=False,
        role="play",
    )
    device_id: int = option(
        0, integer(0, 1023), "number of the GPU, counted from 0", kept=False, role="play"
    )
    datatype: str = option(
        "float32",
        choice("float16", "float32", "float64"),
        "type of weights and arithmetic",
        role="play",
    )
    native_kernels: bool = option(
        True, BOOLEAN, "let a C compiler make convolutions for the CPU", kept=False, role="play"
    )
    stochastic_round: bool = option(
        False,
        kinds.NO_STOCHASTIC_ROUND,
        "only false: torch has no stochastic rounding",
        kept=False,
        nargs="?",
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
        1_000_000, integer(1, _STEPS), "training steps from the first rate to the last"
    )
    exploration_repeat: int = option(
        1, integer(1, 10_000), "longest time, in steps, that a random action is kept"
    )
    exploration_rate_test: float = option(
        0.05, PROBABILITY, "exploration rate in tests", role="play"
    )
    train_frequency: int = option(
        4, integer(1, _STEPS), "steps from one training of the network to the next"
    )
    train_repeat: int = option(1, integer(1, 10_000), "minibatches in each training of the network")
    target_steps: int = option(
        10_000, integer(0, _STEPS), "steps between copies to the target network; 0: none"
    )
    random_starts: int = option(
        30,
        integer(0, 10_000),
        "most frames without an action at an Atari game's start",
        role="play",
    )

    random_steps: int = option(
        50_000, integer(0, _STEPS), "steps of random play before training", group="main loop"
    )
    train_steps: int = option(250_000, integer(0, _STEPS), "training steps in an epoch")
    test_steps: int = option(125_000, integer(0, _STEPS), "test steps in an epoch", role="test")
    test_games: int = option(
        0, integer(0, 1_000_000), "games in a test; 0: the test lasts --test_steps", role="test"
    )
    epochs: int = option(200, integer(0, _EPOCHS), "number of the last epoch, counted from 1")
    start_epoch: int = option(
        0, integer(0, _EPOCHS), "epochs that count as done at the start", kept=False, role="begin"
    )
    load_weights: Path | None = option(
        None,
        path("SNAPSHOT"),
        "snapshot whose weights the network begins with",
        kept=False,
        role="begin",
    )
    load_experience: tuple[Path, ...] = option(
        (),
        path("FILE"),
        "a person's games that the replay memory begins with",
        kept=False,
        nargs="+",
    )
    save_weights_prefix: Path | None = option(
        None, path("PREFIX"), "names of snapshots are PREFIX_<epoch>.safetensors", kept=False
    )
    csv_file: Path | None = option(
        None,
        path("FILE"),
        "file of the statistics, with a row for each phase",
        kept=False,
        role="test",
    )
    tensorboard: Path | bool = option(
        False, kinds.FOLDER_OR_TRUTH, "write curves for TensorBoard, also into a FOLDER", kept=False
    )
    writer: tuple[str, ...] = option(
        (), named("tensorboard"), "what gets the rows besides the CSV file", kept=False, nargs="+"
    )
    save_memory: bool = option(True, BOOLEAN, "save the replay memory, so that resuming is exact")
    overwrite: bool = option(
        False, BOOLEAN, "replace existing files of the same name", kept=False, role="write"
    )

    random_seed: int | None = option(
        None,
        integer(0, 2**32 - 1),
        "seed of all randomness (drawn and logged)",
        group="common",
        role="play",
    )
    log_games: bool = option(
        False, BOOLEAN, "log a line for each game that ends", kept=False, role="test"
    )
    log_level: str = option(
        "INFO", choice(*_LEVELS), "least serious kind of message on stderr", kept=False, role="play"
    )

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


OPTIONS = _rows()
KEPT = tuple(sorted((row for row in OPTIONS if row.kept), key=lambda row: row.name))
