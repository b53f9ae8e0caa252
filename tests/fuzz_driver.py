"""Mutates files of every kind that the tool reads, reads them as the commands do, and counts.

    python fuzz_driver.py FOLDER NUMBER [FIRST]

makes a run, writes NUMBER mutated files of its kinds, in turn, with their checksums recomputed, so
that the checks behind the checksum are reached, and prints counts as JSON. A program of its own,
since what is looked for includes a process that dies, takes a gigabyte, or hangs. The number of a
file is the seed of its mutation: FIRST alone is made again with NUMBER 1.
"""

import dataclasses
import hashlib
import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import zstandard
from helpers import make_memory

from simple_dqn.checkpoints.csv_file import keep_rows, read_csv
from simple_dqn.checkpoints.restoring import Restoring
from simple_dqn.checkpoints.snapshot import read_snapshot
from simple_dqn.commands.arguments import arguments_of, merge
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.memory.experience import (
    Experience,
    experience_settings,
    fill_memory,
    read_experience,
    write_experience,
)
from simple_dqn.options.command_line import COMMANDS
from simple_dqn.reports.curves import read_runs
from simple_dqn.run import parts, run
from simple_dqn.run.run import Run
from simple_dqn.run.trained import load_network

GIGABYTE = 2**30
SECONDS = 20  # for a file; more is a hang
SIDE = 36
RUN = (
    f"--screen_width {SIDE} --screen_height {SIDE} --replay_size 400 --random_steps 60 "
    "--train_steps 60 --test_steps 0 --epochs 2 --target_steps 20 --random_seed 3 --batch_size 8 "
    "--network nips --backend cpu --log_level ERROR"
)
RUNS = {"pong": "", "pong_per": "--prioritized true --optimizer adam --num_games 2"}
Array = np.ndarray[Any, Any]
HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 255, 256, 2**31, 2**63, 10**18, -(10**30), 0.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "nan", "-0", "1e999999999", "true", "0.1,0.2", "4"),
    *("../../victim.txt", "/etc/passwd", "..", "victim.txt", "gym", "canary_module:X-v0"),
    *("\x1b[2J\nsimple_dqn: all is well", "a" * 100_000, "\ud800", "\0", "²"),
    *([], [1], [None], [0.1, 0.2], ["NOOP"] * 300, [[[[]]]], {}, {"a": 1}, {"": {}}),
]
NAMES = ["overwrite", "csv_file", "visualization_file", "game", "environment", "x", "", "memory"]


class Hang(BaseException):
    """A file took too long."""


# ---- mutations


def mutate_json(rng: np.random.Generator, tree: Any) -> Any:
    """One change somewhere in a tree of JSON."""
    tree = json.loads(json.dumps(tree))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys: Any = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(tree)
    node, key = places[rng.integers(len(places))]
    choice = rng.integers(6)
    if choice == 0:
        del node[key]
    elif choice == 1 and isinstance(node, dict):
        node[NAMES[rng.integers(len(NAMES))]] = HOSTILE[rng.integers(len(HOSTILE))]
    elif choice == 2 and isinstance(node[key], int | float):
        node[key] = node[key] + [-1, 1, 0.5, 10**6][rng.integers(4)]
    elif choice == 3:
        other, place = places[rng.integers(len(places))]
        node[key] = json.loads(json.dumps(other[place]))
    else:
        node[key] = HOSTILE[rng.integers(len(HOSTILE))]
    return tree


def mutate_array(rng: np.random.Generator, array: Array) -> Array:
    """Another shape, type or number."""
    choice = rng.integers(6)
    array = array.copy()
    if choice == 0:
        shapes: list[tuple[int, ...]] = [(), (0,), (1,), (array.size + 1,), (2, 3), (1, 1, 1)]
        return np.zeros(shapes[rng.integers(len(shapes))], array.dtype)
    if choice == 1:
        types = ["f2", "f4", "f8", "i8", "u1", "i4", "?", "u8"]
        return array.astype(types[rng.integers(len(types))])
    if choice == 2 and array.ndim > 1:
        return np.ascontiguousarray(array.swapaxes(0, -1))
    if choice == 3 and array.ndim:
        return np.concatenate([array, array]) if rng.integers(2) else array[1:]
    numbers = [np.nan, np.inf, -np.inf, -1, 1e38, 0, 200]
    number = numbers[rng.integers(len(numbers))]
    with np.errstate(all="ignore"):
        flat = array.reshape(-1)
        if flat.size:
            flat[rng.integers(flat.size)] = np.array(number).astype(array.dtype)
    return flat.reshape(array.shape)


def mutate_arrays(rng: np.random.Generator, arrays: dict[str, Array]) -> dict[str, Array]:
    """One array changed, gone, renamed or new."""
    arrays = dict(arrays)
    name = sorted(arrays)[rng.integers(len(arrays))]
    choice = rng.integers(8)
    new = ["9.weight", "target.0.weight", "optimizer.99.step", "optimizer.x", "memory.x", "", "é"]
    if choice == 0:
        del arrays[name]
    elif choice == 1:
        arrays[new[rng.integers(len(new))]] = arrays.pop(name)
    elif choice == 2:
        arrays[new[rng.integers(len(new))]] = np.zeros(3, np.float32)
    else:
        arrays[name] = mutate_array(rng, arrays[name])
    return arrays


def mutate_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes flipped, cut out, doubled or put in."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        position = int(rng.integers(len(data) + 1))
        choice = rng.integers(4)
        if choice == 0 and position < len(data):
            data[position] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            del data[position : position + int(rng.integers(1, 50))]
        elif choice == 2:
            data[position:position] = bytes(rng.integers(0, 256, rng.integers(1, 9), np.uint8))
        else:
            data[position:position] = data[position : position + 40]
    return bytes(data)


def write_safetensors(path: Path, text: str, arrays: dict[str, Array]) -> str:
    """Write a file with a right checksum."""
    digest = hashlib.sha256(text.encode("utf-8", "replace"))
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    metadata = {"simple_dqn": text, "sha256": digest.hexdigest()}
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    return text


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["simple_dqn"]), arrays


# ---- what the commands do with a file


class Fuzz:
    """A run's files, and for each kind of file a mutation and a reader.

    A reader returns whether the file was taken as valid; what is valid is used for a gradient step.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.work = folder / "run", folder / "work"
        self.work.mkdir(parents=True)
        (folder / "canary_module.py").write_text("open('canary', 'w').write('was run')\n")
        (self.work / "victim.txt").write_text("precious\n")
        os.chdir(self.work)
        sys.path.insert(0, str(folder))
        os.environ["SIMPLE_DQN_ROOT"] = str(self.root)
        os.environ["XDG_CACHE_HOME"] = os.environ["TMPDIR"] = str(self.work)
        for name, options in RUNS.items():
            label = name.removeprefix("pong").removeprefix("_")
            assert main(["train", "pong", *label.split(), *RUN.split(), *options.split()]) == 0
        self.kinds: dict[str, Callable[[np.random.Generator], bool]] = {
            "snapshot": self.snapshot,
            "training state": self.training_state,
            "memory piece": self.piece,
            "experience": self.experience,
            "CSV": self.csv,
            "preset": self.preset,
        }

    def copy_run(self, rng: np.random.Generator) -> tuple[Path, dict[str, Any], dict[str, Array]]:
        """A fresh copy of a run's last epoch; its snapshot's path, header and arrays."""
        name = sorted(RUNS)[rng.integers(len(RUNS))]
        for path in self.work.glob("pong*"):
            path.unlink()
        for path in (self.root / "snapshots").glob(f"{name}_[0-9]*"):
            shutil.copy(path, self.work)
        path = self.work / f"{name}_2.safetensors"
        return path, *read_safetensors(path)

    def snapshot(self, rng: np.random.Generator) -> bool:
        path, header, arrays = self.copy_run(rng)
        text = json.dumps(header)
        choice = rng.integers(10)
        if choice < 6:
            for _ in range(rng.integers(1, 3)):
                header = mutate_json(rng, header) or {}
            text = json.dumps(header)
        elif choice == 6:
            deep = ["[" * 100_000 + "]" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000]
            texts = [*deep, "", "null", "[]", "{", text.replace("84", "9" * 4400, 1), text + " 1"]
            text = texts[rng.integers(len(texts))]
        elif choice < 9:
            arrays = mutate_arrays(rng, arrays)
        write_safetensors(path, text, arrays)
        if choice == 9:
            path.write_bytes(mutate_bytes(rng, path.read_bytes()))
        command = ["test", "resume", "play", "record", "nvis"][rng.integers(5)]
        arguments = arguments_of(COMMANDS[command], {"snapshot": path})
        settings, snapshot = arguments["settings"], arguments["snapshot"]
        small = dataclasses.replace(settings, backend="cpu", native_kernels=False)
        shape = (settings.screen_height, settings.screen_width)
        states = np.zeros((1, parts.history_length(settings, shape), *shape), np.uint8)
        load_network(small, snapshot, shape).predict(states)
        # A test, short though the header may ask for many games and for years of frames.
        cost = {"num_games": min(4, settings.num_games), "frame_skip": min(9, settings.frame_skip)}
        Run(dataclasses.replace(small, test_steps=8, test_games=0, **cost), snapshot).test()
        return True

    def restore(self, path: Path) -> bool:
        """What resume does before it plays; then a gradient step, in the kernels in C."""
        snapshot = read_snapshot(path)
        settings = merge({"epochs": 3}, snapshot=snapshot)
        games = 1 + ("per" in path.name)
        kept = {"replay_size": 400, "num_games": games, "batch_size": 8, "backend": "cpu"}
        kept |= {"train_steps": 60, "n_step": 1, "native_kernels": True}
        settings = dataclasses.replace(settings, **kept)
        Run(settings, snapshot)
        shape = (settings.screen_height, settings.screen_width)
        network = load_network(settings, snapshot, shape)
        threads = parts.choose_threads(settings)
        seen: Any = SimpleNamespace(observation_shape=shape, observation_dtype=np.dtype(np.uint8))
        memory = parts.make_memory(settings, settings.replay_size, seen, threads)
        restored = Restoring(settings, snapshot).restore(network, memory)
        if memory.can_sample():
            minibatch = memory.get_minibatch(np.random.default_rng(0), 0)
            assert minibatch.actions.max() < len(snapshot.header["action_meanings"])
            assert np.isfinite(minibatch.weights).all()
            assert np.isfinite(minibatch.returns).all()
            network.train(minibatch)
            memory.update_priorities(minibatch, network.errors)
        return restored.everything

    def training_state(self, rng: np.random.Generator) -> bool:
        path, header, arrays = self.copy_run(rng)
        state_path = path.with_name(f"{path.stem}.training.safetensors")
        state_header, state = read_safetensors(state_path)
        choice = rng.integers(10)
        if choice == 0:
            state_header = mutate_json(rng, state_header) or {}
        elif choice == 1:
            header = mutate_json(rng, header) or {}
            state_header = {**header, "memory": state_header["memory"]}
        elif choice < 9:
            for _ in range(rng.integers(1, 3)):
                state = mutate_arrays(rng, state)
        write_safetensors(path, json.dumps(header), arrays)
        write_safetensors(state_path, json.dumps(state_header), state)
        if choice == 9:
            state_path.write_bytes(mutate_bytes(rng, state_path.read_bytes()))
        return self.restore(path)

    def piece(self, rng: np.random.Generator) -> bool:
        path, header, arrays = self.copy_run(rng)
        state_path = path.with_name(f"{path.stem}.training.safetensors")
        state_header, state = read_safetensors(state_path)
        pieces = state_header["memory"]["pieces"]
        piece = pieces[rng.integers(len(pieces))]
        piece_path = self.work / piece["name"]
        line, _, stream = piece_path.read_bytes().partition(b"\n")
        steps = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(stream))
        choice = rng.integers(8)
        facts = json.loads(line)
        if choice == 0:
            facts = mutate_json(rng, facts)
        elif choice == 1:  # many more steps than there are, in a file of a few kB
            stop = int(10 ** rng.integers(3, 18))
            piece["stop"] = facts["stop"] = state_header["memory"]["total"] = stop
            steps = bytearray(int(rng.integers(1, 2**24)))
        elif choice < 5:  # the last bytes are endings, before them rewards and actions
            for _ in range(rng.integers(1, 4)):
                position = len(steps) - 1 - int(rng.integers(min(len(steps), 1500)))
                steps[position] = int(rng.integers(256))
        elif choice == 5:
            steps = bytearray(mutate_bytes(rng, bytes(steps)))
        stream = zstandard.ZstdCompressor(level=1).compress(bytes(steps))
        content = json.dumps(facts).encode() + b"\n" + stream
        if choice == 6:
            content = mutate_bytes(rng, content)
        piece_path.write_bytes(content)
        piece["sha256"] = hashlib.sha256(content).hexdigest()
        if choice == 7 or not rng.integers(8):
            state_header["memory"] = mutate_json(rng, state_header["memory"])
        write_safetensors(path, json.dumps(header), arrays)
        write_safetensors(state_path, json.dumps(state_header), state)
        return self.restore(path)

    def experience(self, rng: np.random.Generator) -> bool:
        names, game = ["NOOP", "FIRE", "UP"], Game("pong", Path("pong.bin"), "0" * 32)
        options = {"frame_skip": 4, "screen_width": SIDE, "screen_height": SIDE}
        settings = experience_settings(
            {**options, "color_averaging": False, "environment": "ale"}, game, names
        )
        number = int(rng.integers(20, 60))
        played = Experience(
            rng.integers(0, 256, (number, SIDE, SIDE), np.uint8),
            rng.integers(0, 3, number, np.uint8),
            rng.normal(size=number).astype(np.float32),
            rng.random(number) < 0.1,
            rng.random(number) < 0.1,
        )
        path = self.work / "played.npz"
        write_experience(path, played, settings)
        choice = rng.integers(6)
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if choice == 0:
            theirs = mutate_json(rng, json.loads(str(arrays["settings"])))
            arrays["settings"] = np.array(json.dumps(theirs))
        elif choice < 4:
            name = sorted(arrays)[rng.integers(len(arrays))]
            if arrays[name].dtype.kind != "U":
                arrays[name] = mutate_array(rng, arrays[name])
            elif rng.integers(2):
                arrays[name] = np.array(["x" * 100_000, "[" * 100_000][rng.integers(2)])
            else:
                del arrays[name]
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        content = buffer.getvalue()
        if choice == 4:
            content = mutate_bytes(rng, content)
        elif choice == 5:  # the header of an array says more than there is
            content = with_longer_array(rng, content)
        path.write_bytes(content)
        experience = read_experience(path, settings, (SIDE, SIDE), np.dtype(np.uint8), 400)
        memory = make_memory(lane_size=400, observation_shape=(SIDE, SIDE), batch_size=8)
        fill_memory(memory, experience, 1)
        if memory.can_sample():
            minibatch = memory.get_minibatch(rng, 0)
            assert minibatch.actions.max() < len(names)
            assert np.isfinite(minibatch.returns).all()
        return True

    def csv(self, rng: np.random.Generator) -> bool:
        path = self.work / "results.csv"
        content = (self.root / "results" / "pong.csv").read_bytes()
        lines = [line.split(b",") for line in content.split(b"\n")]
        cells = [b"1.0", b"nan", b"-1", b"x", b"", b"9" * 5000, b'"', b"\xff", b"1e999", b"\0"]
        choice = rng.integers(3)
        if choice == 0:
            content = mutate_bytes(rng, content)
        else:
            row = lines[rng.integers(len(lines))]
            row[rng.integers(len(row))] = cells[rng.integers(len(cells))]
            ends = [b"\n", b"\r\n", b"\r", b"\n\n"]
            content = ends[rng.integers(4) if choice == 2 else 0].join(map(b",".join, lines))
        path.write_bytes(content)
        if rng.integers(2):
            read_runs([path], ["average_reward", "meanq"])
        else:  # as resume does
            keep_rows(path, [row for row in read_csv(path) if row.epoch <= 1])
        return True

    def preset(self, rng: np.random.Generator) -> bool:
        path = self.work / "preset.toml"
        options = {"epochs": 3, "network": "nips", "learning_rate": 0.1, "double_q": True}
        values = mutate_json(rng, options)
        text = "".join(f"{name or 'x'} = {toml(value)}\n" for name, value in values.items())
        if not rng.integers(4):
            deep = ["x = " + "[" * 3000 + "]" * 3000, "epochs = " + "9" * 5000, "[" * 5000, "\0"]
            text = deep[rng.integers(len(deep))]
        content = text.encode("utf-8", "replace")
        path.write_bytes(mutate_bytes(rng, content) if not rng.integers(3) else content)
        merge({"game": "pong"}, preset=str(path))
        return True


def toml(value: Any) -> str:
    """A value as TOML writes it, or nearly so."""
    return "nan" if value != value else json.dumps(value)


def with_longer_array(rng: np.random.Generator, content: bytes) -> bytes:
    """An archive in which an array's own header says another length than the array has."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        names = old.namelist()
        changed = names[rng.integers(len(names))]
        for name in names:
            data = old.read(name)
            if name == changed:
                length = str(int(10 ** rng.integers(1, 19))).encode()
                start = data.index(b"'shape': (") + len(b"'shape': (")
                data = data[:start] + length + data[start + len(length) :]
            new.writestr(name, data)
    return buffer.getvalue()


# ---- what must not happen


def watch_for_harm(folder: Path, harm: list[str]) -> None:
    """Note each program started, and each file written or removed outside of a folder."""
    allowed = str(folder.resolve())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        path: Any = None
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            path = arguments[0] if (arguments[2] or 0) & writes else None
        elif event in ("os.remove", "os.rename", "os.truncate", "os.rmdir", "shutil.rmtree"):
            path = arguments[0]
        elif event in ("subprocess.Popen", "os.system"):
            if Path(os.fsdecode(arguments[0])).name not in ("cc", "gcc", "clang"):  # for kernels
                harm.append(f"{event} {arguments[0]!r}")
        elif event == "import" and "canary" in str(arguments[0]):
            harm.append("a module was imported")
        if path is not None and not os.path.realpath(path).startswith(allowed):
            harm.append(f"{event} {path!r}")

    sys.addaudithook(hook)


def virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def read_one(read: Callable[[np.random.Generator], bool], seed: int) -> tuple[str, str]:
    """Whether a file was refused or taken; and what must not have happened, if it did."""
    signal.alarm(SECONDS)
    try:
        return "taken" if read(np.random.default_rng(seed)) else "refused", ""
    except UserError as error:
        return "refused", f"more than a line: {error}" if "\n" in str(error) else ""
    except Hang:
        return "failed", f"more than {SECONDS} seconds"
    except Exception:
        return "failed", traceback.format_exc()
    finally:
        signal.alarm(0)


def too_long(*_: object) -> None:
    raise Hang


def fuzz(folder: Path, number: int, first: int) -> dict[str, Any]:
    """Read mutated files and count what came of them."""
    logging.disable()
    run.HELD_OUT_STATES = 1
    made = Fuzz(folder)
    harm: list[str] = []
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in made.kinds}
    failures: list[str] = []
    signal.signal(signal.SIGALRM, too_long)
    for read in made.kinds.values():  # so that all libraries are loaded
        for seed in range(3):
            read_one(read, seed)
    watch_for_harm(folder, harm)
    limit = virtual_bytes() + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for file in range(first, first + number):
        kind = list(made.kinds)[file % len(made.kinds)]
        sys.stderr.write(f"\r{file} {kind}      ")  # the last words, should the process die
        came, failure = read_one(made.kinds[kind], file)
        counts[kind].update(["files", came])
        if failure:
            failures.append(f"{file} {kind}: {failure}")
    if (made.work / "canary").exists():
        harm.append("the canary module was run")
    if (made.work / "victim.txt").read_text() != "precious\n":
        harm.append("the victim was overwritten")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "counts": counts,
        "failures": failures[:20],
        "failed": len(failures),
        "harm": harm[:20],
        "megabytes": grown / 1024,
    }


if __name__ == "__main__":
    result = fuzz(
        Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0
    )
    print(json.dumps(result, indent=1))  # noqa: T201
