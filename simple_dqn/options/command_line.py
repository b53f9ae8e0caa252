"""Command lines: their parsers, and mistakes reported in one clear line.

Nothing here needs torch, an emulator or NumPy: help and mistakes come at once.
"""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

from simple_dqn import streams
from simple_dqn.errors import printable
from simple_dqn.options.commands import COMMANDS, Command
from simple_dqn.options.kinds import Option, as_text

_NEGATIVE = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def print_help(self, file: Any = None) -> None:  # noqa: ARG002 (argparse gives none)
        """Write the help to standard output."""
        streams.write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        message = " ".join(message.splitlines())  # also where an argument has several lines
        end = " " if message.endswith("?") else "; "
        self.exit(2, printable(f"{self.prog}: {message}{end}--help shows the options\n"))


def parse(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; return what was given, by name."""
    parser = make_parser(COMMANDS[name])
    _check_names(parser, arguments)
    given = vars(parser.parse_intermixed_args(arguments))
    return {name: value for name, value in given.items() if value is not None}


def _check_names(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse an option that the command does not have, and name the one that was meant."""
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    for word in words:
        name = word.split("=")[0]
        if name == "--":
            return
        if name.startswith("--") and name not in known:
            hint = near_names(name.lower().replace("-", "_").replace("__", "--", 1), known)
            parser.error(f"there is no option {name}{hint}")


def near_names(name: str, known: Iterable[str]) -> str:
    """Return what could have been meant, also by its last words, as a sentence's end; or ""."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.7)
    near += [n for n in known if n.endswith(f"_{name.lstrip('-')}") and n not in near]
    return f", did you mean {' or '.join(near)}?" if near else ""


def make_parser(command: Command) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    parser = _Parser(
        prog=f"simple-dqn {command.name}",
        usage=f"simple-dqn {command.usage} [--OPTION VALUE ...]",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=command.more,
        formatter_class=partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=34, width=100
        ),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser._negative_number_matcher = _NEGATIVE  # argparse's own takes -1e38 for an option
    _add(parser, [row for row in command.own if row.positional])
    _add(parser.add_argument_group(command.name), [r for r in command.own if not r.positional])
    for name, rows in command.options().items():
        _add(parser.add_argument_group(name), rows)
    return parser


def _add(group: "argparse._ActionsContainer", rows: Iterable[Option]) -> None:
    """Let a parser or one of its groups take some options."""
    for row in rows:
        known = row.default not in (None, ())
        keywords: dict[str, Any] = {
            "type": row.type,
            "metavar": row.type.metavar,
            "help": row.help.replace("%", "%%") + (f" [{as_text(row.default)}]" if known else ""),
        }
        if row.nargs is not None:
            keywords["nargs"] = row.nargs
        if row.positional:
            # NB! argparse would give a missing argument's default to its type as if it were text.
            group.add_argument(row.name, **keywords, default=None)
        else:
            if row.type.metavar.startswith("BOOL"):  # without a value: true
                keywords |= {"nargs": "?", "const": "true"}
            group.add_argument(f"--{row.name}", **keywords)
