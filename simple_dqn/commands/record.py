"""`record SNAPSHOT`: film a network's games, with their sound."""

import contextlib
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from simple_dqn import streams
from simple_dqn.checkpoints.places import check_output, game_of, root
from simple_dqn.checkpoints.snapshot import Snapshot, check_game, check_same_actions
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, interrupts_held
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import TEST_FRAMES
from simple_dqn.run.trained import load_network, look_inside
from simple_dqn.watch.film import FORMATS, Film, SoundFile, make_film, resize, write_picture
from simple_dqn.watch.games import make_console, make_watched_game
from simple_dqn.watch.mind import Mind
from simple_dqn.watch.watched_game import Frame, WatchedGame

logger = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]
Draw = Callable[[Picture], Picture]


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
    video_file: Path | None,
    record_screen_path: Path | None,
    record_sound_filename: Path | None,
) -> None:
    """Film games and write the film's name to standard output; only Atari's games have sound.

    Args:
        settings: of the game and the network.
        snapshot: of the network.
        play_games: number of games.
        skip_seconds: of play before the film begins, of the game's own time.
        seconds: after which the film ends, of the game's own time; None: with the last game.
        width: of the film in pixels; None: as `scale` says.
        scale: factor by which the enlarged game is enlarged once more.
        show_mind: beside the game.
        video_file: the film; None: videos/<snapshot's name>.mp4.
        record_screen_path: folder for a PNG of each screen.
        record_sound_filename: WAV file for the sound.
    """
    game = game_of(settings)
    check_game(snapshot, game)
    path = video_file or root() / "videos" / f"{snapshot.path.stem}.mp4"
    _check_outputs(settings, path, record_screen_path, record_sound_filename, snapshot.path.stem)
    seed = secrets.randbits(32) if settings.random_seed is None else settings.random_seed
    logger.info("%s, random seed %d", game.name, seed)
    console = make_console(settings, game, random_seed=seed)
    rate = console.frames_per_second
    sample_rate = rate * console.samples_per_frame
    if record_sound_filename is not None and not sample_rate:
        raise UserError(f"{game.name} makes no sound; leave out --record_sound_filename")
    shape = console.observation_shape
    network = load_network(settings, snapshot, shape)
    watched = make_watched_game(
        settings,
        console,
        network,
        random_seed=seed,
        max_frames=TEST_FRAMES,
    )
    check_same_actions(snapshot, watched.action_meanings)
    draw: Draw = console.enlarge
    if show_mind:
        draw = Mind(watched, network, look_inside(settings, snapshot, shape)).beside
    draw = _sized(draw, width, scale)
    with contextlib.ExitStack() as stack:
        check_interrupt = stack.enter_context(interrupts_held())
        film = stack.enter_context(make_film(path, frames_per_second=rate, sample_rate=sample_rate))
        sound = None
        if record_sound_filename is not None:
            sound = stack.enter_context(SoundFile(record_sound_filename, sample_rate=sample_rate))

        to_skip = skipped = math.ceil(skip_seconds * rate)

        def keep(frame: Frame) -> None:
            nonlocal to_skip
            picture = draw(frame.picture)  # also of a frame to skip: the mind shows past values
            if to_skip:
                to_skip -= 1
            else:
                film.add(picture, frame.sound)
                if sound is not None:
                    sound.add(frame.sound)
                if record_screen_path is not None:
                    name = f"{snapshot.path.stem}_{film.frames:06d}.png"
                    write_picture(record_screen_path / name, frame.picture)
            check_interrupt()

        started = time.perf_counter()
        most = None if seconds is None else math.ceil(seconds * rate)
        scores = _play(watched, play_games, most, film, keep)
        taken = time.perf_counter() - started
        if not film.frames:
            raise UserError(
                f"the games ended before --skip_seconds {skip_seconds:g}; give fewer seconds, or "
                "more --play_games"
            )
        if record_screen_path is not None:
            _remove_later(record_screen_path, snapshot.path.stem, film.frames)
    logger.info(
        "score %s; %.1f times as fast as the games' own time",
        ", ".join(f"{score:g}" for score in scores),
        (skipped + film.frames) / rate / taken,
    )
    streams.write(f"{path}\n")


def _sized(draw: Draw, width: int | None, scale: float) -> Draw:
    """Draw pictures as wide as is asked for.

    Raises:
        UserError: both a width and a scale are asked for.
    """
    if width is not None and scale != 1:
        raise UserError("--width and --scale both say how wide the film is; give one of them")
    if width is None and scale == 1:
        return draw

    def drawn(picture: Picture) -> Picture:
        large = draw(picture)
        return resize(large, width or round(scale * large.shape[1]))

    return drawn


def _remove_later(folder: Path, name: str, frames: int) -> None:
    """Remove the screens of a longer film that one of so many frames replaces."""
    for path in _pictures(folder, name):
        if int(path.stem[-6:]) > frames:
            path.unlink()


def _pictures(folder: Path, name: str) -> list[Path]:
    """The screens of films of a snapshot that are in a folder."""
    pattern = re.compile(re.escape(name) + r"_\d{6}\.png")
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]


def _check_outputs(
    settings: Settings, film: Path, screens: Path | None, sound: Path | None, name: str
) -> None:
    check_output(film, "--video_file", FORMATS, overwrite=settings.overwrite)
    if sound is not None:
        check_output(sound, "--record_sound_filename", [".wav"], overwrite=settings.overwrite)
    if screens is not None:
        check_writable(screens / "screen.png", "--record_screen_path")
        if not settings.overwrite and _pictures(screens, name):
            raise UserError(
                f"{screens} has screens of {name} already; give another folder with "
                "--record_screen_path, or --overwrite true"
            )


def _play(
    watched: WatchedGame, games: int, most: int | None, film: Film, keep: Callable[[Frame], None]
) -> list[float]:
    """Let the network play and keep each frame, so many at most; the scores of the games.

    Each game is a chapter of the film, also one that is cut off.
    """
    scores: list[float] = []
    with tqdm(desc="filming", unit=" frames", disable=None, leave=False) as bar:
        for game in range(1, games + 1):
            try:
                for frame in watched.frames():
                    bar.set_postfix_str(f"score {watched.score:g}", refresh=False)
                    bar.update()
                    keep(frame)
                    if film.frames == most:
                        return [*scores, watched.score]
            finally:
                film.end_chapter(f"game {game}: score {watched.score:g}")
            scores.append(watched.score)
            watched.start()
    return scores
