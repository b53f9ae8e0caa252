"""The CSV files of runs → one table, in which the seeds of one setting are a group.

The files are those of `statistics.py` or of the original tool: a header, then numbers without
quotes. A file needs the columns `epoch` and `phase` and those that are asked for.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from simple_dqn.environments.roms import game_names
from simple_dqn.errors import UserError
from simple_dqn.files import read_text

logger = logging.getLogger(__name__)

PHASES = ("random", "train", "test")
Options = Mapping[str, Any]  # of a run, by name
Groups = dict[str, pd.DataFrame]  # by name, the rows of the seeds of one setting

# How seeds are numbered in file names: pong_seed1, pong-s2, pong_3.
_SEED = re.compile(r"(?<=[^/])([_-]?seed[_-]?|[_-]s|[_-])\d+$", re.IGNORECASE)
# The original writes ±sys.maxint as the extreme scores of a phase in which no game ended.
_NO_GAME = 2.0**63


def read_run(path: Path, fields: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file that has these columns, also while it is being written.

    Return a row per phase and epoch: `phase` (text), `epoch` (int) and all other columns (float;
    nan where there is no finite value). An incomplete line, as the last may be, is left out. Where
    a phase of an epoch is there twice, because the original tool was started again, the later row
    counts.
    """
    *lines, unfinished = read_text(path, "the CSV file of a run").split("\n")
    header, *rows = [line.split(",") for line in lines] or [[""]]
    if not {"epoch", "phase"} <= set(header):
        raise UserError(f"{path} has no columns 'epoch' and 'phase'; give the CSV file of a run")
    complete = [row for row in rows if len(row) == len(header)]
    if unfinished or len(complete) < len(rows):
        number = len(rows) - len(complete) + bool(unfinished)
        logger.warning("%s: incomplete lines are left out: %d", path, number)
    table = pd.DataFrame(complete, columns=header)
    table = table[table["phase"].isin(PHASES)]
    if table.empty:
        raise UserError(f"{path} has no results yet; wait for the end of the run's first phase")
    columns = table.columns.drop("phase")
    for field in fields:
        if field not in columns:
            known = ", ".join(columns)
            raise UserError(f"{path} has no column '{field}'; choose from {known}")
    try:
        numbers = table[columns].astype(float).astype({"epoch": int})
    except ValueError as error:
        raise UserError(f"{path}: {error}; give the CSV file of a run") from error
    numbers = numbers.where(numbers.abs() < _NO_GAME)  # infinity goes, too
    return numbers.assign(phase=table["phase"]).drop_duplicates(["phase", "epoch"], keep="last")


def group_runs(runs: Mapping[Path, pd.DataFrame], options: Mapping[Path, Options]) -> Groups:
    """Put the tables of `read_run` of the seeds of one setting below one another.

    The options are those of the runs but for the seed, where they are known. In the rows of a group
    the first index level `path` says whose row it is. A column `frame_skip` (int) has the frames of
    a step, Nature's 4 where the options are unknown.
    """
    groups: dict[str, dict[Path, pd.DataFrame]] = {}
    for path, rows in runs.items():
        known = options.get(path, {})
        frames = known.get("frame_skip", 4) if known.get("environment", "ale") == "ale" else 1
        group = groups.setdefault(group_name(path, list(runs)), {})
        group[path] = rows.assign(frame_skip=frames)
    for name, (first, *others) in list(groups.items()):
        for other in others:
            one, two = options.get(first, {}), options.get(other, {})
            if different := [k for k in sorted(one.keys() & two.keys()) if one[k] != two[k]]:
                logger.warning(
                    "%s and %s are not seeds of one setting, because they differ in %s; each run "
                    "of %s is shown by itself",
                    *(first, other, different[0], name),
                )
                alone = groups.pop(name).items()
                groups |= {f"{name}/{path.stem}": {path: rows} for path, rows in alone}
                break
    # NB! No font has a letter for a byte that is not UTF-8.
    return {
        name.encode(errors="replace").decode(): pd.concat(group, names=["path"])
        for name, group in groups.items()
    }


def group_name(path: Path, paths: Sequence[Path]) -> str:
    """Name the group of a file: files of a folder that are named alike but for the seed share one.

    A run by itself keeps the name of its file. The folder is part of the name where the files are
    in several.
    """
    common = os.path.commonpath([other.resolve().parent for other in paths])
    places = [other.resolve().relative_to(common).with_suffix("") for other in (path, *paths)]
    own, *names = [_SEED.sub("", place.as_posix()) for place in places]
    return own if names.count(own) > 1 else places[0].as_posix()


def game_in(name: str) -> str | None:
    """The game with which the name of a run begins; None: it begins with no game that is known.

    `space_invaders_s1` → `space_invaders`; `CartPole-v1_s2` → `CartPole-v1`.
    """
    name = name.split("/")[-1]
    if environment_id := re.match(r"\w*?-v\d+", name):
        return environment_id[0]
    games = [game for game in game_names() if re.match(rf"{game}([_-]|\d|$)", name, re.IGNORECASE)]
    return max(games, key=len, default=None)


def num_seeds(rows: pd.DataFrame) -> int:
    """The number of runs in a group."""
    return rows.index.get_level_values("path").nunique()
