"""`play SNAPSHOT|GAME`: watch a network play, take over and give back; or play a game alone."""

import contextlib
import logging
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simple_dqn.checkpoints.choice import best_and_last, scores_of_tests
from simple_dqn.checkpoints.places import check_output, game_of, root, snapshots_like
from simple_dqn.checkpoints.snapshot import Snapshot, check_game
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.files import interrupts_held
from simple_dqn.memory.experience import Recorder, experience_settings, write_experience
from simple_dqn.options.settings import Settings
from simple_dqn.watch.games import make_console, make_watched_game
from simple_dqn.watch.play import Play
from simple_dqn.watch.window import Window

if TYPE_CHECKING:
    from simple_dqn.watch.terminal import Terminal

logger = logging.getLogger(__name__)

_SIZE = (640, 420)  # of a game's picture
_INSTEAD = "play in the terminal with --display terminal, or film the game with scripts/record.sh"


def play(
    settings: Settings,
    snapshot: Snapshot | None,
    display: str,
    *,
    show_mind: bool,
    record_experience: Path | None,
) -> None:
    """Show a game that the network of a snapshot plays, or a person alone."""
    if show_mind and snapshot is None:
        raise UserError("--show_mind true needs a network: give a snapshot instead of a game")
    seed = secrets.randbits(32) if settings.random_seed is None else settings.random_seed
    game = _named_game(settings, snapshot)
    recorder = Recorder()
    if record_experience is not None:
        check_output(
            record_experience, "--record_experience", [".safetensors"], overwrite=settings.overwrite
        )
    console = make_console(settings, game, random_seed=seed)
    title, mean_of_tests = f"simple_dqn: {game.name}", None
    if snapshot is not None:
        network, epoch = snapshot.header["network"], snapshot.header["epoch"]
        title += f", network {network} of epoch {epoch}, {snapshot.path.stem}"
        mean_of_tests = scores_of_tests(snapshot.path).get(epoch)
    shown = _open(display, title, console.sample_rate)
    with contextlib.ExitStack() as stack:
        # NB! Whatever happens, the seed is logged, and not while a terminal shows the game.
        stack.callback(logger.info, "%s, random seed %d", game.name, seed)
        stack.enter_context(contextlib.closing(shown))
        watched, mind = make_watched_game(settings, snapshot, console, random_seed=seed)
        session = Play(
            watched,
            shown,
            mind=mind,
            show_mind=show_mind,
            on_step=recorder.add if record_experience is not None else None,
            mean_of_tests=mean_of_tests,
            files=root() / "videos" / (snapshot.path.stem if snapshot is not None else game.name),
        )
        try:
            with contextlib.suppress(KeyboardInterrupt):
                session.run()
        finally:  # whatever happened, the steps are kept
            if record_experience is not None and len(recorder):
                played_with = experience_settings(settings.kept(), game, console.action_meanings)
                with interrupts_held():
                    write_experience(record_experience, recorder.experience(), played_with)
    for line in session.score_card.lines():
        logger.info(line)
    if record_experience is not None:
        if not len(recorder):
            raise UserError("nothing was recorded: no step was played by a person (key m)")
        logger.info("%s: %s steps of yours", record_experience, f"{len(recorder):,}")


def _named_game(settings: Settings, snapshot: Snapshot | None) -> Game:
    """Find the game of a snapshot, or the one that was named."""
    try:
        game = game_of(settings)
    except UserError as error:
        hint = " or ".join(map(str, snapshots_like(settings.game)))
        if snapshot is not None or not hint:
            raise
        raise UserError(f"unknown game {settings.game!r}; did you mean {hint}?") from error
    if snapshot is not None:
        check_game(snapshot, game)
        return game
    named = [path for path in best_and_last() if path.stem.startswith(f"{game.name}_")]
    if named:
        newest = max(named, key=lambda path: path.stat().st_mtime)
        logger.info("you play alone; to watch a network play %s, call play %s", game.name, newest)
    return game


def _open(display: str, title: str, sample_rate: int) -> "Terminal | Window":
    if display != "terminal":
        try:
            return Window(title, *_SIZE, instead=_INSTEAD, sample_rate=sample_rate)
        except UserError:
            if display == "window" or not (sys.stdin.isatty() and sys.stdout.isatty()):
                raise
            logger.warning("there is no display for a window: the game is shown in this terminal")
    try:
        from simple_dqn.watch.terminal import Terminal
    except ImportError as error:  # Windows has no termios
        raise UserError(f"--display terminal needs Linux or macOS ({error})") from error
    return Terminal()
