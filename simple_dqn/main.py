"""The command line: finds the command, runs it, and reports a mistake in one clear line."""

import importlib.util
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from simple_dqn import __version__, streams
from simple_dqn.errors import UserError
from simple_dqn.options.command_line import near_names, parse
from simple_dqn.options.commands import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    streams.accept_odd_letters()
    status, message = 0, ""
    try:
        status, message = _main(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        status, message = error.status, f"simple_dqn: {error}\n"
    except KeyboardInterrupt as interrupt:
        words = ["simple_dqn: interrupted", *map(str, interrupt.args)]  # what a run leaves
        below_the_bar = "\n" if sys.stderr.isatty() else ""
        status, message = 130, below_the_bar + "; ".join(words) + "\n"
    except OSError as error:  # a disk or a folder that fails where no message foresaw it
        status, message = 1, f"simple_dqn: {error}\n"
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        status = 1
        message = (
            "simple_dqn: there is too little free memory; give a smaller --replay_size, "
            "--batch_size, --num_games or --screen_width and --screen_height\n"
        )
    finally:
        streams.complain(message)
    return status


def _main(arguments: Sequence[str]) -> tuple[int, str]:
    """Find the command and run it; return the exit status and a message for stderr."""
    if arguments[:1] == ["--version"]:
        streams.write(f"simple_dqn {__version__}\n")
        return 0, ""
    if arguments[:1] in (["help"], ["--help"], ["-h"]):
        arguments = [*arguments[1:2], "--help"]  # `help train`
    if not arguments or arguments[0] not in COMMANDS:
        return _usage(arguments)
    found = {}  # handlers of a Python program that called `main`
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            found[number] = signal.signal(number, signal.default_int_handler)
    try:
        _run(arguments[0], arguments[1:])
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)
    return 0, ""


def _run(name: str, arguments: Sequence[str]) -> None:
    """Parse a command's arguments and call its function, of the same name as its module."""
    given = parse(name, arguments)
    prepared = _load("commands.arguments").arguments_of(COMMANDS[name], given)
    for library in COMMANDS[name].extra:
        if importlib.util.find_spec(library) is None:
            raise UserError(f"{name} needs {library}; scripts/{name}.sh installs it on first use")
    command = getattr(_load(f"commands.{name}"), name)
    level = prepared["settings"].log_level if "settings" in prepared else "WARNING"
    with _load("reports.progress").log_above_bars(level):
        command(**prepared)


def _load(name: str) -> ModuleType:
    """Import a module of this package when it is needed: help and mistakes do not wait for torch.

    This is the only place that imports anything late.
    """
    return importlib.import_module(f"simple_dqn.{name}")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether NumPy (MemoryError) or torch found no memory; torch repeats its allocator's words."""
    gpu = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or gpu or "can't allocate memory" in str(error)


def _usage(arguments: Sequence[str]) -> tuple[int, str]:
    """Say which commands there are, or that there is no such command."""
    text = (
        f"usage: simple-dqn {{{','.join(COMMANDS)}}} ...\n"
        "       simple-dqn COMMAND --help shows a command's options\n"
    )
    for command in COMMANDS.values():
        text += f"  {command.usage:28}{command.summary}\n"
    if arguments == ["--help"]:
        streams.write(text)
        return 0, ""
    if arguments:
        hint = near_names(arguments[0].lower(), (*COMMANDS, "--help", "--version"))
        end = " " if hint else "; "
        text = f"simple-dqn: there is no command {arguments[0]}{hint}{end}--help lists them\n"
    return 2, text
