"""`record SNAPSHOT`: film a network's games, with their sound."""

import logging
import math
import secrets
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simple_dqn import streams
from simple_dqn.checkpoints.places import check_output, root
from simple_dqn.checkpoints.snapshot import (
    Snapshot,
    read_snapshot,
    run_prefix,
    snapshot_path,
)
from simple_dqn.errors import UserError
from simple_dqn.files import errors_naming, interrupts_held
from simple_dqn.options.settings import Settings
from simple_dqn.watch.film import FORMATS, Film, encode_png
from simple_dqn.watch.games import play_network
from simple_dqn.watch.mind import SECONDS, Mind, beside, write_over
from simple_dqn.watch.watched_game import Frame, WatchedGame

logger = logging.getLogger(__name__)

_Keep = Callable[[Frame, int], None]  # takes a frame and its number


def record(
    settings: Settings,
    snapshot: Snapshot,
    play_games: int,
    *,
    skip_seconds: float,
    seconds: float | None,
    width: int | None,
    scale: float,
    show_mind: bool,
    epochs: tuple[int, ...],
    video_file: Path | None,
    record_screen_path: Path | None,
    record_sound_filename: Path | None,
) -> None:
    """Film games and write the film's name to standard output; `record --help` has the options."""
    if width is not None and scale != 1:
        raise UserError("--width and --scale both set the width of the film; give one of them")
    name = snapshot.path.stem
    path = video_file or root() / "videos" / f"{name}.mp4"
    sound, screens = record_sound_filename, record_screen_path
    _check_outputs(settings, path, sound, screens and screens / f"{name}_000001.png")
    seed = secrets.randbits(32) if settings.random_seed is None else settings.random_seed
    logger.info("%s, random seed %d", settings.game, seed)
    prefix = run_prefix(snapshot.path)
    filmed = [read_snapshot(snapshot_path(prefix, epoch)) for epoch in epochs] or [snapshot]
    players = [play_network(settings, each, seed) for each in filmed]
    console = players[0][0].console
    rate = console.frames_per_second
    if sound is not None and not console.sample_rate:
        raise UserError(f"{settings.game} makes no sound; leave out --record_sound_filename")
    skipped = math.ceil(skip_seconds * rate)
    total = None if seconds is None else skipped + math.ceil(seconds * rate / len(players))
    scores: list[float] = []
    with (
        interrupts_held() as check_interrupt,
        Film(path, rate, console.sample_rate, sound) as film,
    ):

        def keep(mind: Mind | None, caption: str, frame: Frame, number: int) -> None:
            if number > skipped:
                picture = beside(frame.picture, console, mind, width, scale)
                film.add(write_over(picture, caption) if caption else picture, frame.sound)
                if screens is not None:
                    screen = screens / f"{name}_{film.frames:06d}.png"
                    with errors_naming(screen):
                        screen.write_bytes(encode_png(frame.picture))
            elif mind is not None and number > skipped - SECONDS * rate:
                mind.follow()  # it shows past values
            check_interrupt()

        for (watched, mind), epoch in zip(players, epochs or [0], strict=True):
            caption = f"epoch {epoch}" * bool(epochs)
            scores += _play(
                watched,
                play_games,
                total,
                film,
                partial(keep, mind if show_mind else None, caption),
                caption,
            )
        if not film.frames:
            raise UserError(
                f"the games ended before --skip_seconds {skip_seconds:g}; give fewer seconds, or "
                "more --play_games"
            )
    logger.info("score %s", ", ".join(f"{score:g}" for score in scores))
    streams.write(f"{path}\n")


def _check_outputs(settings: Settings, film: Path, sound: Path | None, screen: Path | None) -> None:
    for path, option, endings in (
        (film, "--video_file", tuple(FORMATS)),
        (sound, "--record_sound_filename", (".wav",)),
        (screen, "--record_screen_path", (".png",)),
    ):
        if path is not None:
            check_output(path, option, endings, overwrite=settings.overwrite)


def _play(
    watched: WatchedGame, games: int, total: int | None, film: Film, keep: _Keep, title: str
) -> list[float]:
    """Let the network play games, of `total` frames together; return their scores.

    Each game is a chapter of the film, even if it is cut off.
    """
    scores: list[float] = []
    number = count(1)
    how: dict[str, Any] = {"unit": " frames", "disable": None, "leave": False}
    with tqdm(desc=f"filming {title}".strip(), total=total, **how) as bar:
        for game in range(1, games + 1):
            try:
                for frame in watched.frames():
                    bar.set_postfix_str(f"score {watched.score:g}", refresh=False)
                    bar.update()
                    keep(frame, played := next(number))
                    if played == total:
                        return [*scores, watched.score]
            finally:
                film.end_chapter(f"{title} game {game}: score {watched.score:g}".strip())
            scores.append(watched.score)
            watched.start()
    return scores
