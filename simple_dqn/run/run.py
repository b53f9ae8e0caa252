"""A run: the parts made from its settings, the phases in their order, and the files.

    Run(Settings(game="pong", label="mine", epochs=2)).train()

trains as `simple-dqn train pong mine --epochs 2` does. Each method of `Run` is one command.
"""

import contextlib
import dataclasses
import importlib.metadata
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from simple_dqn.agent import Callback
from simple_dqn.checkpoints.csv_file import keep_rows, read_csv
from simple_dqn.checkpoints.places import game_of, root
from simple_dqn.checkpoints.run_files import RunFiles
from simple_dqn.checkpoints.snapshot import (
    Snapshot,
    check_game,
    check_same_actions,
    read_snapshot,
    run_prefix,
)
from simple_dqn.checkpoints.training_state import Saving, restore
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable
from simple_dqn.memory.experience import (
    Experience,
    experience_settings,
    fill_memory,
    read_experience,
)
from simple_dqn.networks.heads import Head
from simple_dqn.networks.next_values import NextValue
from simple_dqn.options.settings import Settings
from simple_dqn.replay_memory import ReplayMemory
from simple_dqn.run.classes import name_of
from simple_dqn.run.ending import ending, reason_to_end
from simple_dqn.run.pixel_mean import PixelMean
from simple_dqn.run.run_parts import RunParts, make_parts
from simple_dqn.run.trained import changes_of_play, check_weights
from simple_dqn.statistics import Row, Writer

logger = logging.getLogger(__name__)


class Run:
    """A run of training, or a test of what a run has learned.

    The commands hand in what a person sees: progress, window, TensorBoard (`commands/train.py`).

    Attributes:
        settings: of the run, with the random seed that was drawn if there was none, and the pixel
            mean that was measured if it was `auto`.
        game: that is played.
        snapshot: of the run that is resumed or tested.
    """

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot | None = None,
        *,
        head: Callable[..., Head] | None = None,
        target: Callable[..., NextValue] | None = None,
        memory: Callable[..., ReplayMemory] | None = None,
        callbacks: Sequence[Callback] = (),
        writers: Sequence[Writer] = (),
    ) -> None:
        """Find the game; nothing is written or allocated before a method is called.

        Args:
            settings: options of the run; they are not changed.
            snapshot: snapshot to resume from, or to test.
            head: class of your own in place of `distributional`, see `parts.HEADS`.
            target: class of your own in place of `target`, see `parts.TARGETS`.
            memory: class of your own in place of `memory`, see `parts.MEMORIES`.
            callbacks: objects that watch the run.
            writers: objects that get a row of statistics per phase, besides the CSV file.

        Raises:
            UserError: there is no such game, the snapshot is of another one, or a class cannot be
                found by its name.
        """
        seed = secrets.randbits(32) if settings.random_seed is None else settings.random_seed
        own = {"distributional": head, "target": target, "memory": memory}
        names: dict[str, Any] = {
            option: name_of(maker) for option, maker in own.items() if maker is not None
        }
        self.settings = dataclasses.replace(settings, random_seed=seed, **names)
        self.game = game_of(settings)
        self.snapshot = snapshot
        self._callbacks, self._writers = callbacks, writers
        if snapshot is not None:
            check_game(snapshot, self.game)

    def train(self) -> None:
        """Train from the beginning: random play, then epochs of training and testing.

        Raises:
            UserError: the files of an earlier run are there, or cannot be written; the settings do
                not fit together; a file that is to be loaded cannot be.
        """
        settings = self.settings
        if settings.start_epoch and settings.start_epoch >= settings.epochs:
            raise UserError(
                f"--start_epoch {settings.start_epoch} leaves nothing to train of --epochs "
                f"{settings.epochs}; give more epochs"
            )
        if settings.pixel_mean == "auto" and not (settings.random_steps or settings.load_weights):
            raise UserError(
                "--pixel_mean auto is measured in the random phase, but --random_steps is 0; give "
                "more --random_steps or a number"
            )
        files = self._files(self.game.name + (f"_{settings.label}" if settings.label else ""))
        files.check()
        with files.held():
            if not settings.overwrite:
                files.refuse_to_overwrite(settings.game)
            with self._parts(files.csv_file) as made:
                self._train(made, files)

    def _train(self, made: RunParts, files: RunFiles) -> None:
        settings = self.settings
        experience = self._read_experience(made)
        if settings.load_weights is not None:
            self._load_weights(made, settings.load_weights)
        files.remove_after(-1)
        with files.interrupts_explained():
            if settings.random_steps:
                self._play_random(made)
            self._remember(made, experience)
            saving = Saving(files, settings)
            if settings.train_steps or settings.train_games:
                self._save(made, saving, settings.start_epoch)
            self._epochs(made, saving, settings.start_epoch)
        logger.info("%s", ending(self.game.name, files))

    def _play_random(self, made: RunParts) -> None:
        """Play the random phase, and measure the pixel mean in it if it is `auto`."""
        if self.settings.pixel_mean != "auto":
            made.agent.play_random(self.settings.random_steps)
            return
        mean = PixelMean(made.network)
        made.agent.callbacks.insert(0, mean)
        made.agent.play_random(self.settings.random_steps)
        made.agent.callbacks.remove(mean)
        self.settings = dataclasses.replace(self.settings, pixel_mean=mean.mean)

    def _load_weights(self, made: RunParts, path: Path) -> None:
        """Begin with the weights of a snapshot, and with its pixel mean where ours is `auto`."""
        loaded = read_snapshot(path)
        check_game(loaded, self.game)
        check_same_actions(loaded, made.environment.action_meanings)
        if self.settings.pixel_mean == "auto":
            pixel_mean = loaded.header["options"].get("pixel_mean", 0.0)
            self.settings = dataclasses.replace(self.settings, pixel_mean=pixel_mean)
            made.network.set_pixel_mean(pixel_mean)
        check_weights(self.settings, loaded, made.environment.observation_shape)
        for change in changes_of_play(self.settings, loaded):
            logger.warning("%s", change)
        made.network.set_weights(loaded.arrays)

    def resume(self) -> None:
        """Continue the run that wrote the snapshot, exactly as if it had not stopped.

        Raises:
            UserError: no epoch is left; later epochs would be lost; as for `train`.
        """
        snapshot, settings = self._given_snapshot(), self.settings
        epoch = int(snapshot.header["epoch"])
        files = self._files(run_prefix(snapshot.path).name, run_prefix(snapshot.path))
        files.check()
        with files.held():
            rows = read_csv(files.csv_file)
            phases = {row.phase for row in rows if row.epoch == epoch}
            tests = bool(settings.test_steps or settings.test_games)
            in_test = tests and "train" in phases and "test" not in phases
            last = [row for row in rows if row.epoch == epoch][-1:]
            reason = "".join(reason_to_end(settings, row.values) for row in last)
            if epoch >= settings.epochs:
                reason = f"--epochs {settings.epochs}"
            if reason and not in_test:
                raise UserError(
                    f"{snapshot.path} is of epoch {epoch}, the last of this run with {reason}; "
                    f"give a larger {reason.split()[0]} to train on"
                )
            files.refuse_foreign(rows, snapshot)
            if not settings.overwrite:
                files.refuse_to_drop(rows, epoch)
            with self._parts(files.csv_file) as made:
                experience = self._read_experience(made)
                none = "" if rows else ", which has none of the epochs so far"
                logger.info("rows are added to %s%s", files.csv_file, none)
                then = snapshot.header["versions"]
                for name, now in self._versions(made).items():
                    if then.get(name, now) != now:  # older snapshots do not name all
                        change = f"changed: {name} {then[name]} -> {now}"
                        logger.warning("%s; the run continues, but not to the last bit", change)
                pieces = restore(settings, snapshot, made.network, made.memory)
                keep_rows(files.csv_file, [row for row in rows if row.epoch <= epoch])
                files.remove_after(epoch)
                if pieces:
                    files.keep_only(epoch, pieces, settings.keep_snapshots)
                with files.interrupts_explained():
                    if in_test:
                        self._test(made, epoch)
                    over = reason_to_end(settings, made.statistics.row)
                    lost = not pieces and settings.memory != "online"  # which keeps nothing
                    if settings.random_steps and lost and not over:
                        made.agent.refill(epoch, settings.random_steps)
                    self._remember(made, experience)
                    # NB! This epoch's piece stays: what was added just now is in the next one.
                    saving = Saving(files, settings, pieces)
                    self._epochs(made, saving, epoch)
                logger.info("%s", ending(self.game.name, files))

    def test(self) -> Row:
        """Play as the run's own test phase did, and return the statistics of the test.

        Raises:
            UserError: no steps or games were asked for, or the CSV file cannot be written.
        """
        snapshot, settings = self._given_snapshot(), self.settings
        if not (settings.test_steps or settings.test_games):
            raise UserError("nothing to test: give --test_steps or --test_games")
        if settings.csv_file is not None:
            check_writable(settings.csv_file, "--csv_file")
            keep_rows(settings.csv_file, read_csv(settings.csv_file))
        with self._parts(settings.csv_file, only_test=True) as made:
            self._test(made, snapshot.header["epoch"])
            return made.statistics.row

    def _given_snapshot(self) -> Snapshot:
        if self.snapshot is None:
            raise UserError("a snapshot is needed: Run(settings, read_snapshot(path))")
        return self.snapshot

    def _parts(
        self, csv_file: Path | None, *, only_test: bool = False
    ) -> contextlib.AbstractContextManager[RunParts]:
        settings = self.settings
        if settings.until_score is not None and not (settings.test_steps or settings.test_games):
            raise UserError("--until_score needs tests; give --test_steps or --test_games")
        return make_parts(
            self.settings,
            self.game,
            self.snapshot,
            csv_file,
            only_test=only_test,
            callbacks=self._callbacks,
            writers=self._writers,
        )

    def _files(self, name: str, prefix: Path | None = None) -> RunFiles:
        """Where the run writes: where its settings say, else at `prefix` or by its name."""
        name = re.sub(r"[^\w.+=-]", "_", name)
        settings = self.settings
        return RunFiles(
            settings.csv_file or root() / "results" / f"{name}.csv",
            settings.save_weights_prefix or prefix or root() / "snapshots" / name,
        )

    def _read_experience(self, made: RunParts) -> list[Experience]:
        """Read what people played, before anything of the run is written."""
        meanings = made.environment.action_meanings
        played_with = experience_settings(self.settings.kept(), self.game, meanings)
        shape, dtype = made.environment.observation_shape, made.environment.observation_dtype
        most, paths = self.settings.replay_size, self.settings.load_experience
        return [read_experience(path, played_with, shape, dtype, most) for path in paths]

    def _remember(self, made: RunParts, experiences: list[Experience]) -> None:
        """Let the replay memory begin with what people played."""
        for path, experience in zip(self.settings.load_experience, experiences, strict=True):
            number = fill_memory(made.memory, experience, self.settings.num_games)
            logger.info("%s: %s steps of a person's play remembered", path, f"{number:,}")

    def _epochs(self, made: RunParts, saving: Saving, done: int) -> None:
        """The main loop: an epoch is training, a snapshot and a test."""
        settings = self.settings
        length = settings.train_games or settings.train_steps
        unit = "games" if settings.train_games else "steps"
        is_saved = True
        if settings.train_games and settings.prioritized:
            logger.info("--importance_exponent stays: games do not say at which step a run ends")
        saving.warn_if_disk_is_small(settings.epochs - done, made.network)
        for epoch in range(done + 1, settings.epochs + 1):
            if reason := reason_to_end(settings, made.statistics.row):
                logger.info("epoch %d is the last of the run with %s", epoch - 1, reason)
                break
            if settings.learning_rate_end is not None:
                change = settings.learning_rate_end - settings.learning_rate
                done_of_all = (epoch - 1) / max(settings.epochs - 1, 1)
                made.network.set_learning_rate(settings.learning_rate + change * done_of_all)
            if length:
                updates = made.network.weight_updates
                made.agent.train(epoch, length, unit)
                made.network.check_finite()
                if made.network.weight_updates == updates:
                    hint = "give a longer epoch, or a smaller --train_frequency"
                    logger.warning("epoch %d had no update of the network; %s", epoch, hint)
                try:
                    self._save(made, saving, epoch)
                    is_saved = True
                except UserError as error:  # the disk is full, for example
                    logger.warning("%s; the run continues, and the next snapshot is tried", error)
                    is_saved = False
            self._test(made, epoch)
        if not is_saved:
            self._save(made, saving, int(made.statistics.row["epoch"]))

    def _versions(self, made: RunParts) -> dict[str, str]:
        """What the last bits of a run depend on, by name."""
        names = ("simple_dqn", "torch", "numpy", "ale-py", "gymnasium")
        versions = {name: importlib.metadata.version(name) for name in names}
        return {
            **versions,
            "kernels": made.network.kernels,
            "threads": str(torch.get_num_threads()),
        }

    def _test(self, made: RunParts, epoch: int) -> None:
        if self.settings.test_games:
            made.agent.test_games(epoch, self.settings.test_games)
        elif self.settings.test_steps:
            made.agent.test(epoch, self.settings.test_steps)

    def _save(self, made: RunParts, saving: Saving, epoch: int) -> None:
        """Write an epoch's snapshot and what resuming needs."""
        by_torch, threads = made.network.kernels == "torch-cpu", torch.get_num_threads()
        header = {
            "game": self.game.name,
            "rom_md5": self.game.rom_md5,
            "label": self.settings.label,
            "action_meanings": made.environment.action_meanings,
            "network": self.settings.network,
            "epoch": epoch,
            "total_train_steps": made.agent.total_train_steps,
            "weight_updates": made.network.weight_updates,
            "replay_memory_count": len(made.memory),
            "total_time": made.statistics.row.get("total_time", 0.0),
            # Torch's sums depend on the number of its threads, the kernels' do not.
            "options": self.settings.kept() | ({"threads": threads} if by_torch else {}),
            "versions": self._versions(made),
        }
        saving.save(epoch, header, made.network, made.memory)
