"""`suite GAMES [NAME]`: runs of several games with several seeds, on one machine or many."""

import logging
import shlex

from simple_dqn import streams
from simple_dqn.checkpoints.places import root
from simple_dqn.commands.report import report
from simple_dqn.errors import UserError
from simple_dqn.files import locked
from simple_dqn.options.settings import Settings
from simple_dqn.suite.launch import Failure, Resources, cluster, launch
from simple_dqn.suite.plan import PlannedRun, plan_runs
from simple_dqn.suite.table import Watcher

logger = logging.getLogger(__name__)


def suite(
    settings: Settings,
    seeds: tuple[int, ...],
    address: str | None,
    cpus_per_run: float,
    gpus_per_run: float,
    max_runs: int | None,
    retries: int,
    dry_run: bool,
) -> None:
    """Carry out what is left of a suite.

    Args:
        settings: of all runs; `game` names the games and `label` the suite.
        seeds: random seeds, one run of each game for each.
        address: HOST:PORT of a Ray cluster, or None for this machine.
        cpus_per_run: cores for a run.
        gpus_per_run: GPUs for a run.
        max_runs: how many runs go on at a time; None: as many as fit.
        retries: how often a run that fails is tried again.
        dry_run: only print the commands.

    Raises:
        UserError: a run failed each time, or the suite cannot begin.
    """
    runs = plan_runs(settings, seeds)
    if dry_run:
        for run in runs:
            streams.write(f"scripts/{_as_script(run)}\n")
        return
    folder = root()
    for run in runs:
        run.check(folder)
    name = runs[0].csv_file.parent
    with locked(folder / name / ".suite.lock", folder / name):
        left = [run for run in runs if not run.is_finished(folder)]
        logger.info("%s: %d of %d runs are left to do", name, len(left), len(runs))
        failures = []
        if left:
            resources = Resources(address, cpus_per_run, gpus_per_run, max_runs)
            with cluster(resources), Watcher(runs, folder) as watcher:
                failures = launch(left, folder, resources, retries, watcher.show)
        _tell(runs, failures)


def _as_script(run: PlannedRun) -> str:
    command, *words = run.command()
    return f"{command}.sh {shlex.join(words)}"


def _tell(runs: list[PlannedRun], failures: list[Failure]) -> None:
    """Tell how the suite ended, and report what its runs have reached.

    Raises:
        UserError: runs failed.
    """
    try:
        report(root() / runs[0].csv_file.parent, None)
    except UserError as error:  # nothing was tested, for example
        logger.warning("no report: %s", error)
    for failure in failures:
        logger.error(
            "%s failed: %s (%s)", failure.run.name, failure.told, root() / failure.run.log_file
        )
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed; the same command tries them again, and "
            "goes on with those that were not finished"
        )
    logger.info("%s: all %d runs are done", runs[0].csv_file.parent, len(runs))
