"""`nvis SNAPSHOT`: make a page that shows which pixels of which states excite each filter."""

import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simple_dqn import streams
from simple_dqn.checkpoints.places import check_output, root
from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.errors import UserError
from simple_dqn.files import write_atomically
from simple_dqn.options.settings import Settings
from simple_dqn.watch.filter_page import write_page
from simple_dqn.watch.games import play_network

logger = logging.getLogger(__name__)


def nvis(
    settings: Settings,
    snapshot: Snapshot,
    visualization_filters: int | None,
    visualization_file: Path | None,
) -> None:
    """Make the page and write its name to standard output."""
    name = snapshot.path.stem
    path = visualization_file or root() / "results" / f"{name}.html"
    check_output(path, "--visualization_file", [".html", ".htm"], overwrite=settings.overwrite)
    watched, mind = play_network(settings, snapshot, settings.random_seed or 0)
    if not mind.guided.num_layers:
        raise UserError(f"the network {settings.network} of {snapshot.path} has no filters to show")
    states, actions = [], []
    with tqdm(desc="playing", unit=" frames", disable=None, leave=False) as bar:
        for frame in watched.frames():
            if frame.step is not None:
                states.append(watched.seen.copy())
                actions.append(watched.action_meanings[frame.step.action])
            bar.update()
    logger.info("played a game of %s steps, score %g", f"{watched.decisions:,}", watched.score)
    blank = min(len(watched.state), len(states)) - 1  # states that begin with blank screens
    page = write_page(
        f"What the filters of {name} see",
        f"{snapshot.header['game']}, network {settings.network}, epoch {snapshot.header['epoch']}; "
        f"a game of {watched.decisions:,} steps, score {watched.score:g}",
        mind.guided,
        np.stack(states[blank:]),
        actions[blank:],
        visualization_filters,
    )
    write_atomically(path, page.encode())
    streams.write(f"{path}\n")
