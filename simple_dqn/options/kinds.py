"""Types of values, and the rows of the tables of options, each of which has a type."""

import contextlib
import itertools
import json
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simple_dqn.errors import OptionError

_LONGEST_JSON, _DEEPEST_JSON = 100_000, 20


@dataclass(frozen=True)
class ValueType:
    """A type of value."""

    check: Callable[[Any], Any]  # (value or its text) -> value; raises ArgumentTypeError for others
    metavar: str  # the word for a value in help texts; BOOL: the option alone means true

    def __call__(self, value: object) -> Any:
        """Check a value."""
        return self.check(value)


@dataclass(frozen=True)
class Option:
    """A row of a table of options.

    The role says which commands take it: `learn`, how a network learns; `play`, how a trained
    network plays; `test`, of tests; `begin`, how a new run begins; `write`, what a command writes.
    """

    name: str  # without dashes
    default: Any  # value where nothing is given
    type: ValueType
    help: str  # what the value is, with its unit
    role: str = "learn"
    kept: bool = True  # by a snapshot; other options belong to one command on one machine
    suite: bool = True  # a suite gives it to all its runs
    group: str = ""  # heading above it; "" belongs to the command itself
    nargs: str | None = None  # argparse's number of values: None is one, "+" several, "?" optional
    positional: bool = False  # given by its place on the command line, not by its name

    def check(self, value: object) -> Any:
        """Return the value that a value or its text means; others raise an OptionError."""
        required = self.positional and self.nargs is None
        if value is None and self.default is None and not required:
            return None
        try:
            if self.nargs == "+":
                several = value if isinstance(value, list | tuple) else [value]
                return tuple(self.type(each) for each in several)
            return self.type(value)
        except ArgumentTypeError as error:
            name = self.name if self.positional else f"--{self.name}"
            raise OptionError(f"{name}: {error}") from error


def as_text(value: object) -> str:
    """Write a value as on the command line, exactly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    if isinstance(value, tuple):
        return ",".join(as_text(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def integer(minimum: int, maximum: int) -> ValueType:
    """Whole numbers from `minimum` to `maximum`; also written 1_000_000, 1,000,000 or 1e6."""

    def check(value: object) -> int:
        text = str(value)
        if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text):
            text = text.replace(",", "")
        try:
            exact = float(text)  # all maxima are below 2^53
        except ValueError:
            exact = math.nan
        if not exact.is_integer():
            raise ArgumentTypeError(f"{text!r} is not a whole number")
        if not minimum <= exact <= maximum:
            raise ArgumentTypeError(
                f"{text} is out of range; it must be {minimum:,} to {maximum:,}"
            )
        return int(exact)

    return ValueType(check, "N")


def number(minimum: float, maximum: float, *, above: bool = False) -> ValueType:
    """Finite numbers from (or, with `above`, above) `minimum` to `maximum`."""

    def check(value: object) -> float:
        try:
            exact = float(str(value))
        except ValueError:
            raise ArgumentTypeError(f"{str(value)!r} is not a number") from None
        inside = minimum < exact <= maximum if above else minimum <= exact <= maximum
        if not inside:  # so is nan
            lower = "above" if above else "from"
            raise ArgumentTypeError(
                f"{value} is out of range; it must be {lower} {minimum:g} to {maximum:g}"
            )
        return exact

    return ValueType(check, "X")


def like(pattern: str, wanted: str, metavar: str) -> ValueType:
    """Texts that match a regular expression, which `wanted` says in words."""

    def check(value: object) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if value is None or not re.fullmatch(pattern, text):
            raise ArgumentTypeError(f"{text!r} is not {wanted}")
        return text

    return ValueType(check, metavar)


def choice(*names: str, own_class: bool = False) -> ValueType:
    """One of some words; with `own_class` also a person's own class, `module:Class`."""
    words = (*names, *["module:Class"] * own_class)
    pattern = "|".join([*names, *[r"[\w.]+:\w+"] * own_class])
    return like(pattern, f"one of {', '.join(words)}", "{" + ",".join(words) + "}")


def text(metavar: str) -> ValueType:
    """Text that is not empty."""
    return like("(?s).+", "a name", metavar)


def _boolean(value: object) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ArgumentTypeError(f"{str(value)!r} is neither true nor false")
    return words[str(value).lower()]


def _rates(value: object) -> float | tuple[float, float]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    rates = [PROBABILITY(part) for part in parts]
    if not rates or len(rates) > 2 or rates != sorted(rates):
        raise ArgumentTypeError(f"{str(value)!r} is neither a rate nor a range LOW,HIGH")
    return (rates[0], rates[1]) if len(rates) == 2 else float(rates[0])


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ArgumentTypeError(f"{value!r} is not a file name")
    return Path(value)


def _json_object(value: object) -> str:
    """JSON text of an object, or the object itself as Python knows it; the result is its text."""
    text, found = "", None
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        text = value if isinstance(value, str) else json.dumps(value)
        depths = itertools.accumulate((c in "[{") - (c in "]}") for c in text)
        if len(text) <= _LONGEST_JSON and max(depths, default=0) <= _DEEPEST_JSON:
            found = json.loads(text)
    if not isinstance(found, dict):
        raise ArgumentTypeError(
            f"""{text[:99]!r} is not a JSON object such as '{{"is_slippery": false}}', at most """
            f"{_LONGEST_JSON:,} letters long and {_DEEPEST_JSON} brackets deep"
        )
    return json.dumps(found)


def _folder_or_truth(value: object) -> Path | bool:
    try:
        return _boolean(value)
    except ArgumentTypeError:
        return _path(value)


def _no_stochastic_round(value: object) -> bool:
    if str(value).lower() not in {"false", "no", "0"}:
        raise ArgumentTypeError(
            "stochastic rounding was Neon's and torch has no such rounding; leave it out"
        )
    return False


def path(metavar: str) -> ValueType:
    """Names of files or folders."""
    return ValueType(_path, metavar)


PROBABILITY = number(0, 1)
LABEL = like(r"[\w.+=-]+", "made of letters, digits and - _ . + = alone", "LABEL")
JSON = ValueType(_json_object, "JSON")
NETWORK = like(
    r"nature|nips|mlp|[1-9]\d{0,4}(,[1-9]\d{0,4})*",
    "one of nature, nips, mlp, nor a list of layers like 64,64",
    "NAME|N,N",
)
MEAN = ValueType(lambda value: "auto" if value == "auto" else PROBABILITY(value), "X|auto")
RATES = ValueType(_rates, "X|LOW,HIGH")
FOLDER_OR_TRUTH = ValueType(_folder_or_truth, "BOOL|FOLDER")
NO_STOCHASTIC_ROUND = ValueType(_no_stochastic_round, "BOOL")
BOOLEAN = ValueType(_boolean, "BOOL")  # true or false, yes or no, 1 or 0
