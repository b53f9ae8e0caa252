"""`suite GAMES [NAME]`: runs of several games with several seeds, on one machine or many."""

import logging
import shlex
from contextlib import nullcontext
from typing import Any

from simple_dqn import streams
from simple_dqn.checkpoints.places import root
from simple_dqn.commands.report import report
from simple_dqn.errors import UserError
from simple_dqn.files import locked
from simple_dqn.options.settings import Settings
from simple_dqn.suite.launch import Failure, Resources, cluster, launch
from simple_dqn.suite.plan import plan_runs
from simple_dqn.suite.table import Watcher

logger = logging.getLogger(__name__)


def suite(
    settings: Settings, seeds: tuple[int, ...], retries: int, dry_run: bool, **resources: Any
) -> None:
    """Carry out what is left of a suite: each game that `settings` names with each seed.

    `resources` are those of `launch.Resources`.
    """
    runs = plan_runs(settings, seeds)
    if dry_run:
        for run in runs:
            command, *words = run.command()
            streams.write(f"scripts/{command}.sh {shlex.join(words)}\n")
        return
    folder = root()
    for run in runs:
        run.check(folder)
    name = runs[0].csv_file.parent
    with locked(folder / name / ".suite.lock", folder / name):
        left = [run for run in runs if not run.is_finished(folder)]
        logger.info("%s: %d of %d runs are left to do", name, len(left), len(runs))
        failures: list[Failure] = []
        if left:
            given, watcher = Resources(**resources), Watcher(runs, folder)
            with cluster(given), watcher.live or nullcontext():
                failures = launch(left, folder, given, retries, watcher.show)
        try:
            report(folder / name, None)
        except UserError as error:  # nothing was tested, for example
            logger.warning("no report: %s", error)
    for run, reason in failures:
        logger.error("%s failed: %s (%s)", run.name, reason, folder / run.log_file)
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed; give the same command again to continue "
            "the runs that are not finished"
        )
    logger.info("%s: all %d runs are done", name, len(runs))
