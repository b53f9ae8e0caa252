"""The tables of options in scripts/README.md, made from the options themselves.

    python -m simple_dqn.options.reference scripts/README.md

updates them, between the lines `<!-- options: NAME -->` and `<!-- end -->`. NAME is a command,
for its own options, or `run`, for the options that most commands share.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from simple_dqn.options.commands import COMMANDS
from simple_dqn.options.kinds import Option, as_text

_BLOCK = re.compile(r"(?<=<!-- options: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def fill(text: str) -> str:
    """Put the tables of today's options into a text in place of those that it has."""
    return _BLOCK.sub(lambda block: f"{block[1]}{block[2]}\n{_tables(block[1])}\n", text)


def _tables(name: str) -> str:
    if name == "run":
        groups = COMMANDS["train"].options()
        return "\n".join(f"### {group}\n\n{_table(rows)}" for group, rows in groups.items())
    return _table(row for row in COMMANDS[name].own if not row.positional)


def _table(rows: Iterable[Option]) -> str:
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = "" if row.default in (None, ()) else as_text(row.default)
        metavar = row.type.metavar.replace("|", "\\|")
        meaning = row.help.replace("<", "\\<")  # else Markdown takes <game> for HTML
        lines.append(f"| `--{row.name} {metavar}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(fill(path.read_text()))
