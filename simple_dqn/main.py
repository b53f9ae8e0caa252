"""The command line: options become parts, parts become phases, mistakes become one clear line.

simple-dqn train GAME [LABEL] [options]      simple-dqn test SNAPSHOT [options]
simple-dqn resume SNAPSHOT [options]         simple-dqn plot CSV... [options]
simple-dqn play SNAPSHOT|GAME [options]      simple-dqn record SNAPSHOT [options]
simple-dqn nvis SNAPSHOT [options]           simple-dqn benchmark [GAME] [options]
"""

import argparse
import importlib.metadata
import logging
import re
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tqdm.contrib.logging import logging_redirect_tqdm

from simple_dqn import __version__
from simple_dqn.agent import Agent
from simple_dqn.environments import roms as games
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable
from simple_dqn.memory.experience import (
    Experience,
    experience_settings,
    fill_memory,
    read_experience,
)
from simple_dqn.run import parts, snapshot
from simple_dqn.run.command_line import (
    check_game,
    find_game,
    make_parser,
    parse,
    parse_with_snapshot,
    root,
)
from simple_dqn.run.options import NOT_KEPT, add_run_options, boolean, label, number
from simple_dqn.run.progress import Progress
from simple_dqn.statistics import Row, Statistics, check_csv, keep_rows

logger = logging.getLogger(__name__)

HELD_OUT_STATES = 100
# What an interrupted command leaves.
_KEPT = dict.fromkeys(
    ("train", "resume"),
    "; finished phases are in the CSV, finished epochs in snapshots that scripts/resume.sh goes on "
    "from",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"simple_dqn {__version__}\n")
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        return _usage(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with logging_redirect_tqdm():
            COMMANDS[arguments[0]](arguments[1:])
    except UserError as error:
        sys.stderr.write(f"simple_dqn: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            ("\n" if sys.stderr.isatty() else "")  # below the progress bar
            + f"simple_dqn: interrupted{_KEPT.get(arguments[0], '')}\n"
        )
        return 130
    return 0


def train(arguments: Sequence[str]) -> None:
    """`train GAME [LABEL]`: train a network, a CSV row per phase and a snapshot per epoch."""
    parser = make_parser("train", "Train a deep Q-network on a game.")
    parser.add_argument("game", help="name (pong), ROM file or id (ALE/Pong-v5)")
    parser.add_argument("label", nargs="?", type=label, help="names the files of this run")
    add_run_options(parser)
    args = parse(parser, arguments)
    game = find_game(args)
    name = game.name + (f"_{args.label}" if args.label else "")
    files = _run_files(args, name)
    snapshots = snapshot.run_snapshots(files.prefix)
    if not args.overwrite:
        _refuse_to_overwrite(args, [files.csv_file, *snapshots.values()])
    run = Run(args, game, files.csv_file)
    experiences = _read_experiences(run)
    if args.load_weights is not None:
        loaded = snapshot.read_snapshot(args.load_weights)
        check_game(loaded, args.load_weights, game)
        run.network.set_weights(loaded.arrays)
    for path in snapshots.values():
        _remove_snapshot(path)
    files.csv_file.unlink(missing_ok=True)
    if args.random_steps:
        run.agent.play_random(args.random_steps)
    _fill_memory(run, experiences)
    _train_epochs(run, args, files.prefix, args.start_epoch)


def resume(arguments: Sequence[str]) -> None:
    """`resume SNAPSHOT`: go on with the run that wrote a snapshot."""
    parser = make_parser("resume", "Go on training from a snapshot.")
    parser.add_argument("snapshot", type=Path, help="snapshots/<game>_<epoch>.safetensors")
    add_run_options(parser)
    args, loaded = parse_with_snapshot(parser, arguments)
    header = loaded.header
    epoch = header["epoch"]
    if epoch >= args.epochs:
        raise UserError(
            f"{args.snapshot} is of epoch {epoch}, and {args.epochs} were asked for; "
            f"say --epochs {epoch + 1} or more to train on"
        )
    args.game, args.label = header["game"], header["label"]
    game = find_game(args)
    check_game(loaded, args.snapshot, game)
    files = _run_files(args, snapshot.run_prefix(args.snapshot).name)
    if args.save_weights_prefix is None:
        files = files._replace(prefix=snapshot.run_prefix(args.snapshot))
    later = {e: path for e, path in snapshot.run_snapshots(files.prefix).items() if e > epoch}
    if later and not args.overwrite:
        last = max(later)
        raise UserError(
            f"epoch {epoch} is not the last of this run: resume {later[last]}, or give "
            f"--overwrite true to drop the epochs {epoch + 1} to {last} and their CSV rows"
        )
    check_csv(files.csv_file)
    run = Run(args, game, files.csv_file, loaded)
    experiences = _read_experiences(run)
    state_path = snapshot.training_state_path(args.snapshot)
    if state_path.exists():
        run.network.set_training_state(snapshot.read_snapshot(state_path).arrays)
        logger.info("restored: weights, target network, optimizer, counters, exploration rate")
    else:
        logger.warning(
            "%s is not there: target network and optimizer are not restored; the target network "
            "begins as a copy of the network, the optimizer afresh",
            state_path,
        )
    phases = keep_rows(files.csv_file, epoch)
    for path in later.values():
        _remove_snapshot(path)
    if "train" in phases and "test" not in phases and _tests(args):
        _test(run.agent, args, epoch)  # the run was stopped in this test
    if args.random_steps:
        logger.info(
            "not restored: the replay memory; it is filled with %s steps of play at the current "
            "exploration rate",
            f"{args.random_steps:,}",
        )
        run.agent.refill(epoch, args.random_steps)
    _fill_memory(run, experiences)
    _train_epochs(run, args, files.prefix, epoch)


def test(arguments: Sequence[str]) -> None:
    """`test SNAPSHOT`: play as the run's own test phase did and tell the score."""
    parser = make_parser("test", "Test a snapshot.")
    parser.add_argument("snapshot", type=Path, help="snapshots/<game>_<epoch>.safetensors")
    add_run_options(parser)
    args, loaded = parse_with_snapshot(parser, arguments)
    args.game = loaded.header["game"]
    game = find_game(args)
    check_game(loaded, args.snapshot, game)
    if not _tests(args):
        raise UserError("nothing to test: give --test_steps or --test_games")
    if args.csv_file is not None:
        check_writable(args.csv_file.resolve().parent)
        check_csv(args.csv_file)
    run = Run(args, game, args.csv_file, loaded, only_test=True)
    _test(run.agent, args, loaded.header["epoch"])
    sys.stdout.write(_score_report(game.name, run.statistics.row))


def play(arguments: Sequence[str]) -> None:
    """`play SNAPSHOT|GAME`: watch a network play, take over and give back; or play a game."""
    from simple_dqn.commands import watching as watch

    watch.play(arguments)


def record(arguments: Sequence[str]) -> None:
    """`record SNAPSHOT`: film a network's games, with their sound."""
    from simple_dqn.commands import watching as watch

    watch.record(arguments)


def nvis(arguments: Sequence[str]) -> None:
    """`nvis SNAPSHOT`: make a page that shows what each filter sees."""
    from simple_dqn.commands import watching as watch

    watch.nvis(arguments)


def plot(arguments: Sequence[str]) -> None:
    """`plot CSV...`: draw the statistics of one or several runs."""
    from simple_dqn.watch.curves import plot_results

    parser = make_parser("plot", "Plot statistics: RESULTS.csv becomes RESULTS.png.")
    parser.add_argument(
        "csv_file", nargs="+", type=Path, help="results/<game>.csv; several overlay"
    )
    parser.add_argument(
        "--fields",
        default="average_reward,meanq,nr_games,meancost",
        help="CSV columns, a panel each, left to right and top to bottom",
    )
    parser.add_argument("--output", type=Path, help="default: the first CSV's name with .png")
    args = parser.parse_args(arguments)
    first = args.csv_file[0]
    output = args.output or (first.with_suffix(".png") if first.name else first)
    fields = [field.strip() for field in args.fields.split(",") if field.strip()]
    plot_results(args.csv_file, fields=fields, output=output)
    sys.stdout.write(f"{output}\n")


def benchmark(arguments: Sequence[str]) -> None:
    """`benchmark [GAME]`: measure this machine and tell what bounds it."""
    from simple_dqn.commands.benchmark import run_benchmark

    parser = make_parser("benchmark", "Measure what this machine can do with a run's options.")
    parser.add_argument("game", nargs="?", default="pong", help="name, ROM file or id")
    parser.add_argument("--seconds", type=number(0, above=True), default=5.0, help="per row")
    parser.add_argument(
        "--peers", type=boolean, default=False, metavar="BOOL", help="Stable-Baselines3 beside"
    )
    add_run_options(parser)
    args = parse(parser, arguments)
    logger.info("measuring, about %.0f seconds", 15 * args.seconds)
    run_benchmark(args, find_game(args), seconds=args.seconds, peers=args.peers)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train,
    "resume": resume,
    "test": test,
    "play": play,
    "record": record,
    "nvis": nvis,
    "plot": plot,
    "benchmark": benchmark,
}


class RunFiles(NamedTuple):
    """Where a run writes."""

    csv_file: Path
    prefix: Path


class Run:
    """The parts of a run, made from its options and wired together."""

    def __init__(
        self,
        args: argparse.Namespace,
        game: games.Game,
        csv_file: Path | None,
        loaded: snapshot.Snapshot | None = None,
        *,
        only_test: bool = False,
    ) -> None:
        self.args = args
        self.game = game
        self.earlier = loaded.header if loaded else {}
        if args.random_seed is None:
            args.random_seed = secrets.randbits(32)
        threads = parts.choose_threads(args)
        logger.info(
            "%s, random seed %d, %d game(s) on %d thread(s), network on %s with %d thread(s)",
            game.name,
            args.random_seed,
            args.num_games,
            threads.environment,
            threads.device,
            threads.network,
        )
        logger.debug("options: %s", vars(args))
        self.test_environment = parts.make_environment(args, game, threads, training=False)
        self.environment = self.test_environment
        # A test fills no memory: the smallest one will do.
        replay_size = args.batch_size + args.num_games * (args.history_length + args.n_step)
        if not only_test:
            self.environment = parts.make_environment(args, game, threads, training=True)
            replay_size = args.replay_size
        self.memory = parts.make_memory(args, replay_size, self.environment, threads)
        self.network = parts.make_network(
            args,
            self.environment.num_actions,
            self.environment.observation_shape,
            threads,
            args.random_seed,
        )
        self.agent = parts.make_agent(
            args,
            self.environment,
            self.test_environment,
            self.memory,
            self.network,
            args.random_seed,
        )
        self.agent.total_train_steps = args.start_epoch * args.train_steps
        if loaded:
            self.network.set_weights(loaded.arrays)
            self.network.weight_updates = self.earlier["weight_updates"]
            self.agent.total_train_steps = self.earlier["total_train_steps"]
        self.statistics = Statistics(
            network=self.network,
            memory=self.memory,
            num_games=args.num_games,
            held_out_states=self.agent.held_out_states(HELD_OUT_STATES),
            csv_file=csv_file,
            total_train_steps=self.agent.total_train_steps,
            replay_memory_count=self.earlier.get("replay_memory_count", 0),
            total_time=self.earlier.get("total_time", 0.0),
        )
        progress = Progress(rewards=self.statistics.rewards, mean_cost=self.network.mean_cost)
        self.agent.callbacks += [progress, self.statistics]

    def save(self, prefix: Path, epoch: int) -> None:
        """Write an epoch's snapshot and training state; drop the training state before it."""
        header = {
            "game": self.game.name,
            "rom_md5": self.game.rom_md5,
            "label": self.args.label,
            "action_meanings": self.environment.action_meanings,
            "network": self.args.network,
            "epoch": epoch,
            "total_train_steps": self.agent.total_train_steps,
            "weight_updates": self.network.weight_updates,
            "replay_memory_count": len(self.memory),
            "total_time": self.statistics.row["total_time"],
            "options": {k: v for k, v in sorted(vars(self.args).items()) if k not in NOT_KEPT},
            "versions": {
                name: importlib.metadata.version(name)
                for name in ("simple_dqn", "torch", "numpy", "ale-py", "gymnasium")
            },
        }
        path = snapshot.snapshot_path(prefix, epoch)
        # The training state first: a snapshot that is there can be resumed from.
        state = self.network.get_training_state()
        snapshot.write_snapshot(snapshot.training_state_path(path), header, state)
        snapshot.write_snapshot(path, header, self.network.get_weights())
        logger.info("wrote %s", path)
        previous = snapshot.snapshot_path(prefix, epoch - 1)
        snapshot.training_state_path(previous).unlink(missing_ok=True)


def _run_files(args: argparse.Namespace, name: str) -> RunFiles:
    """Where this run writes; tried before the first step."""
    name = re.sub(r"[^\w.+=-]", "_", name)
    files = RunFiles(
        args.csv_file or root() / "results" / f"{name}.csv",
        args.save_weights_prefix or root() / "snapshots" / name,
    )
    for path in files:
        check_writable(path.resolve().parent)
    return files


def _refuse_to_overwrite(args: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Stop if one of the files exists, the newest snapshot last."""
    existing = [path for path in paths if path.exists()]
    if existing:
        newest = existing[-1]
        go_on = f"scripts/resume.sh {newest} goes on with it, " if newest.suffix != ".csv" else ""
        raise UserError(
            f"{existing[0]} is there from an earlier run: {go_on}"
            f"scripts/train.sh {args.game} LABEL names this run differently, "
            "--overwrite true replaces the earlier run"
        )


def _remove_snapshot(path: Path) -> None:
    logger.info("removing %s", path)
    path.unlink()
    snapshot.training_state_path(path).unlink(missing_ok=True)


def _read_experiences(run: Run) -> list[Experience]:
    """Read the files of --load_experience, before anything of the run is written."""
    settings = experience_settings(run.args, run.game, run.environment.action_meanings)
    return [read_experience(path, settings) for path in run.args.load_experience or ()]


def _fill_memory(run: Run, experiences: Sequence[Experience]) -> None:
    """Let the replay memory begin with what people played."""
    for path, experience in zip(run.args.load_experience or (), experiences, strict=True):
        number = fill_memory(run.memory, experience, run.args.num_games)
        logger.info("%s: %s steps of a person's play remembered", path, f"{number:,}")


def _train_epochs(run: Run, args: argparse.Namespace, prefix: Path, done: int) -> None:
    """The main loop: an epoch is training, a snapshot and a test."""
    for epoch in range(done + 1, args.epochs + 1):
        if args.learning_rate_end is not None:
            change = args.learning_rate_end - args.learning_rate
            done_of_all = (epoch - 1) / max(args.epochs - 1, 1)
            run.network.set_learning_rate(args.learning_rate + change * done_of_all)
        if args.train_steps:
            run.agent.train(epoch, args.train_steps)
            run.save(prefix, epoch)
        if _tests(args):
            _test(run.agent, args, epoch)


def _tests(args: argparse.Namespace) -> bool:
    return bool(args.test_steps or args.test_games)


def _test(agent: Agent, args: argparse.Namespace, epoch: int) -> None:
    if args.test_games:
        agent.test_games(epoch, args.test_games)
    else:
        agent.test(epoch, args.test_steps)


def _score_report(game: str, row: Row) -> str:
    """What `test` prints."""
    average = float(row["average_reward"])
    lines = [
        f"game                    {game}",
        f"games                   {row['nr_games']}",
        f"steps                   {row['steps']}",
    ]
    if not row["nr_games"]:
        return "\n".join([*lines, "No game ended: give more --test_steps, or --test_games.\n"])
    lines += [
        f"average reward          {average:.2f} +- {row['std_game_reward']:.2f} (std. deviation)",
        f"lowest, highest         {row['min_game_reward']:g}, {row['max_game_reward']:g}",
    ]
    normalized = games.human_normalized_score(game, average)
    if normalized is not None:
        lines.append(f"human-normalized score  {normalized:.1f}% (0: random play, 100: a human)")
    return "\n".join(lines) + "\n"


def _usage(arguments: Sequence[str]) -> int:
    """Tell which commands there are."""
    text = (
        f"usage: simple-dqn {{{','.join(COMMANDS)}}} ...\n"
        "       simple-dqn COMMAND --help tells a command's options\n"
    )
    for name, command in COMMANDS.items():
        text += f"  {name:10}{(command.__doc__ or '').splitlines()[0]}\n"
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(text)
        return 0
    sys.stderr.write(text)
    return 2


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
