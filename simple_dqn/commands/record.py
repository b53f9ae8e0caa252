"""`record SNAPSHOT`: film a network's games, with their sound."""

import glob
import logging
import math
import secrets
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from simple_dqn import streams
from simple_dqn.checkpoints.places import check_output, game_of, root
from simple_dqn.checkpoints.snapshot import Snapshot, check_game, check_same_actions
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable, errors_naming, interrupts_held
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import TEST_FRAMES
from simple_dqn.run.trained import load_network, look_inside
from simple_dqn.watch.film import FORMATS, Film, encode_png, resize
from simple_dqn.watch.games import make_console, make_watched_game
from simple_dqn.watch.mind import Mind
from simple_dqn.watch.watched_game import Frame, WatchedGame

logger = logging.getLogger(__name__)


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
    """Film games and write the film's name to standard output; see `record --help` for the options.

    Seconds are of the game's own time; only Atari's games have sound.

    Raises:
        UserError: an option is wrong, or a file cannot be written.
    """
    if width is not None and scale != 1:
        raise UserError("--width and --scale both set the width of the film; give one of them")
    game = game_of(settings)
    check_game(snapshot, game)
    name = snapshot.path.stem
    path = video_file or root() / "videos" / f"{name}.mp4"
    _check_outputs(settings, path, record_screen_path, record_sound_filename, name)
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
        settings, console, network, random_seed=seed, max_frames=TEST_FRAMES
    )
    check_same_actions(snapshot, watched.action_meanings)
    draw = console.enlarge
    if show_mind:
        draw = Mind(watched, network, look_inside(settings, snapshot, shape)).beside
    to_skip = math.ceil(skip_seconds * rate)
    most = None if seconds is None else math.ceil(seconds * rate)
    with (
        interrupts_held() as check_interrupt,
        Film(
            path,
            frames_per_second=rate,
            sample_rate=sample_rate,
            sound_path=record_sound_filename,
        ) as film,
    ):

        def keep(frame: Frame) -> None:
            nonlocal to_skip
            picture = draw(frame.picture)  # also of a frame to skip: the mind shows past values
            if to_skip:
                to_skip -= 1
            else:
                picture = resize(picture, width or round(scale * picture.shape[1]))
                film.add(picture, frame.sound)
                if record_screen_path is not None:
                    screen = record_screen_path / f"{name}_{film.frames:06d}.png"
                    with errors_naming(screen):
                        screen.write_bytes(encode_png(frame.picture))
            check_interrupt()

        scores = _play(watched, play_games, most, film, keep)
        if not film.frames:
            raise UserError(
                f"the games ended before --skip_seconds {skip_seconds:g}; give fewer seconds, or "
                "more --play_games"
            )
    if record_screen_path is not None:
        for screen in _screens(record_screen_path, name)[film.frames :]:
            screen.unlink()  # of a longer film that this one replaces
    logger.info("score %s", ", ".join(f"{score:g}" for score in scores))
    streams.write(f"{path}\n")


def _screens(folder: Path, name: str) -> list[Path]:
    """The screens of a snapshot's games in a folder, in their order."""
    return sorted(folder.glob(f"{glob.escape(name)}_{'[0-9]' * 6}.png"))


def _check_outputs(
    settings: Settings, film: Path, screens: Path | None, sound: Path | None, name: str
) -> None:
    check_output(film, "--video_file", tuple(FORMATS), overwrite=settings.overwrite)
    if sound is not None:
        check_output(sound, "--record_sound_filename", [".wav"], overwrite=settings.overwrite)
    if screens is not None:
        check_writable(screens / "screen.png", "--record_screen_path")
        if not settings.overwrite and _screens(screens, name):
            raise UserError(
                f"{screens} has screens of {name} already; give another folder with "
                "--record_screen_path, or --overwrite true"
            )


def _play(
    watched: WatchedGame, games: int, most: int | None, film: Film, keep: Callable[[Frame], None]
) -> list[float]:
    """Let the network play until the film has `most` frames; return the scores of the games.

    Each game is a chapter of the film, even if it is cut off.
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
