"""Watching a network: the commands play, record and nvis."""

import argparse
import contextlib
import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from simple_dqn.environments import roms as games
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, write_atomically
from simple_dqn.memory.experience import Recorder, experience_settings, write_experience
from simple_dqn.run import parts, snapshot
from simple_dqn.run.command_line import (
    check_game,
    find_game,
    make_parser,
    parse,
    parse_with_snapshot,
    root,
)
from simple_dqn.run.options import add_run_options, boolean, integer
from simple_dqn.watch.mind import Mind
from simple_dqn.watch.play import Play
from simple_dqn.watch.watched_game import FRAMES_PER_SECOND, SAMPLE_RATE, widen

if TYPE_CHECKING:
    from simple_dqn.deep_q_network import DeepQNetwork
    from simple_dqn.networks.guided_backpropagation import GuidedNetwork
    from simple_dqn.watch.terminal import Terminal
    from simple_dqn.watch.window import Window

logger = logging.getLogger(__name__)

_SNAPSHOT_HELP = "snapshots/<game>_<epoch>.safetensors"
_WIDTH, _HEIGHT = 640, 420  # of a game's picture


def play(arguments: Sequence[str]) -> None:
    """`play SNAPSHOT|GAME`."""
    parser = make_parser("play", "Watch a network play, take over and give back; or play a game.")
    parser.add_argument(
        "snapshot", type=Path, metavar="SNAPSHOT|GAME", help=f"{_SNAPSHOT_HELP}, or a game's name"
    )
    add = parser.add_argument_group("play").add_argument
    add("--display", choices=["window", "terminal"], default="window", help="where to show it")
    _add_show_mind(parser)
    add(
        "--record_experience",
        type=Path,
        metavar="FILE",
        help="keep your steps in FILE (.npz), for train.sh --load_experience FILE",
    )
    add_run_options(parser)
    args = parser.parse_intermixed_args(arguments)
    random_seed, loaded = args.random_seed, None
    if args.snapshot.suffix in {".safetensors", ".pkl"}:
        args, loaded = parse_with_snapshot(parser, arguments)
    else:
        args = parse(parser, arguments)
        args.game = str(args.snapshot)
        if args.show_mind:
            raise UserError("--show_mind true needs a network: give a snapshot instead of a game")
    args.random_seed = secrets.randbits(32) if random_seed is None else random_seed
    game = _find_game(args, loaded)
    recorder = Recorder() if args.record_experience is not None else None
    if recorder is not None:
        _check_output(args.record_experience, args, "--record_experience")
    with contextlib.closing(_open_display(args.display, f"simple_dqn: {game.name}")) as display:
        network = _load_network(args, loaded) if loaded is not None else None
        watched = parts.make_watched_game(args, game, network)
        mind = (
            Mind(watched, network, _look_inside(args, loaded))
            if network is not None and loaded is not None
            else None
        )
        session = Play(
            watched,
            display,
            beside=mind.beside if mind is not None else None,
            show_mind=args.show_mind,
            on_step=recorder.add if recorder is not None else None,
        )
        try:
            with contextlib.suppress(KeyboardInterrupt):
                session.run()
        finally:  # whatever happened: what a person played is kept
            if recorder is not None and len(recorder):
                settings = experience_settings(args, game, watched.action_meanings)
                write_experience(args.record_experience, recorder.experience(), settings)
    if recorder is not None:
        if not len(recorder):
            raise UserError("nothing was recorded: no step was played by a person (key m)")
        logger.info("%s: %s steps of yours", args.record_experience, f"{len(recorder):,}")


def record(arguments: Sequence[str]) -> None:
    """`record SNAPSHOT`."""
    from simple_dqn.watch.film import Film, write_picture

    parser = make_parser("record", "Film a network's games by the evaluation protocol.")
    parser.add_argument("snapshot", type=Path, help=_SNAPSHOT_HELP)
    add = parser.add_argument_group("record").add_argument
    add("--play_games", type=integer(1), default=1, help="games to film")
    _add_show_mind(parser)
    add(
        "--video_file",
        type=Path,
        metavar="FILE",
        help="the film; default: videos/<game>_<epoch>.mp4",
    )
    add(
        "--record_screen_path",
        type=Path,
        metavar="FOLDER",
        help="write each of the emulator's screens as a PNG there, too",
    )
    add_run_options(parser)
    args, loaded = parse_with_snapshot(parser, arguments)
    game = _find_game(args, loaded)
    path = args.video_file or root() / "videos" / f"{args.snapshot.stem}.mp4"
    _check_output(path, args, "--video_file")
    if args.record_screen_path is not None:
        check_writable(args.record_screen_path, "--record_screen_path")
    network = _load_network(args, loaded)
    watched = parts.make_watched_game(args, game, network, max_frames=parts.TEST_FRAMES)
    draw = Mind(watched, network, _look_inside(args, loaded)).beside if args.show_mind else widen
    scores: list[float] = []
    started = time.perf_counter()
    with (
        _interrupts_held() as check_interrupt,
        Film(path, frames_per_second=FRAMES_PER_SECOND, sample_rate=SAMPLE_RATE) as film,
        tqdm(desc="filming", unit=" frames", disable=None, leave=False) as bar,
    ):
        for _ in range(args.play_games):
            for frame in watched.frames():
                film.add(draw(frame.picture), frame.sound)
                if args.record_screen_path is not None:
                    name = f"{args.snapshot.stem}_{film.frames:06d}.png"
                    write_picture(args.record_screen_path / name, frame.picture)
                bar.set_postfix_str(f"score {watched.score:g}", refresh=False)
                bar.update()
                check_interrupt()
            scores.append(watched.score)
            watched.start()
    logger.info(
        "score %s; %.1f times as fast as the games' own time",
        ", ".join(f"{score:g}" for score in scores),
        film.frames / FRAMES_PER_SECOND / (time.perf_counter() - started),
    )
    sys.stdout.write(f"{path}\n")


def nvis(arguments: Sequence[str]) -> None:
    """`nvis SNAPSHOT`."""
    from simple_dqn.watch.filter_page import view_filters, write_page

    parser = make_parser("nvis", "Make a page that shows what excites each filter, and what in it.")
    parser.add_argument("snapshot", type=Path, help=_SNAPSHOT_HELP)
    add = parser.add_argument_group("nvis").add_argument
    add(
        "--visualization_filters",
        type=_number_or_all,
        default=None,
        metavar="N|all",
        help="so many of each layer, the most active ones; default: all",
    )
    add(
        "--visualization_file",
        type=Path,
        metavar="FILE",
        help="the page; default: results/<game>_<epoch>.html",
    )
    add_run_options(parser)
    args, loaded = parse_with_snapshot(parser, arguments)
    game = _find_game(args, loaded)
    path = args.visualization_file or root() / "results" / f"{args.snapshot.stem}.html"
    _check_output(path, args, "--visualization_file")
    network = _load_network(args, loaded)
    guided = _look_inside(args, loaded)
    if not guided.num_layers:
        raise UserError(f"the network {args.network} of {args.snapshot} has no filters to show")
    watched = parts.make_watched_game(args, game, network, max_frames=parts.TEST_FRAMES)
    states = [watched.state.copy()]
    with tqdm(desc="playing", unit=" frames", disable=None, leave=False) as bar:
        for frame in watched.frames():
            if frame.step is not None:
                states.append(watched.state.copy())
            bar.update()
    logger.info("played a game of %s steps, score %g", f"{watched.decisions:,}", watched.score)
    states = states[args.history_length - 1 :]  # without those that begin with blank screens
    views = list(view_filters(guided, np.stack(states), args.visualization_filters))
    page = write_page(
        f"What the filters of {args.snapshot.stem} see",
        f"{game.name}, network {args.network}, epoch {loaded.header['epoch']}; "
        f"a game of {watched.decisions:,} steps, score {watched.score:g}",
        views,
    )
    write_atomically(path, page.encode())
    sys.stdout.write(f"{path}\n")


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the function that is given is called: no frame is left half done."""
    came: list[object] = []

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: came.append(_)) for number in numbers}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else integer(1)(text)


def _add_show_mind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show_mind",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="beside the game: Q-values, their course, what the network sees and looks at",
    )


def _find_game(args: argparse.Namespace, loaded: snapshot.Snapshot | None) -> games.Game:
    """The game of a snapshot, or the one that the arguments name."""
    if loaded is None:
        return find_game(args)
    args.game = loaded.header["game"]
    game = find_game(args)
    check_game(loaded, args.snapshot, game)
    return game


def _check_output(path: Path, args: argparse.Namespace, option: str) -> None:
    """See that a file can be written and none is lost."""
    if path.exists() and not args.overwrite:
        raise UserError(f"{path} is there already; give {option} FILE, or --overwrite true")
    check_writable(path.resolve().parent, option)


def _load_network(args: argparse.Namespace, loaded: snapshot.Snapshot) -> "DeepQNetwork":
    """The network of a snapshot."""
    num_actions = len(loaded.header["action_meanings"])
    shape = (args.screen_height, args.screen_width)
    network = parts.make_network(args, num_actions, shape, parts.choose_threads(args), 0)
    network.set_weights(loaded.arrays)
    return network


def _look_inside(args: argparse.Namespace, loaded: snapshot.Snapshot) -> "GuidedNetwork":
    num_actions = len(loaded.header["action_meanings"])
    shape = (args.screen_height, args.screen_width)
    device = parts.choose_threads(args).device
    return parts.make_guided_network(args, num_actions, shape, loaded.arrays, device)


def _open_display(kind: str, title: str) -> "Terminal | Window":
    if kind == "terminal":
        from simple_dqn.watch.terminal import Terminal

        return Terminal()
    from simple_dqn.watch.window import Window

    return Window(title, _WIDTH, _HEIGHT)
