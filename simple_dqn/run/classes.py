"""The doors for people's own classes: a name of a table, or `module:Class`."""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from simple_dqn.errors import UserError


def find_class(option: str, name: str, table: Mapping[str, Any]) -> Any:
    """Return what a value of `--option` names, a class or a function that makes an object.

    The name is in the table, or it is `module:Class`, whose module is imported.

    Raises:
        UserError: there is no such name, or the class cannot be imported.
    """
    if name in table:
        return table[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UserError(
            f"unknown {option} {name!r}; give {', '.join(table)} or a class of your own, "
            "module:Class"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a person's module may fail in any way
        raise UserError(f"cannot import --{option} {name}: {error}") from error


def name_of(maker: Callable[..., object]) -> str:
    """Return the name, `module:Class`, by which `find_class` finds a class or a function.

    Raises:
        UserError: the class is not at the top level of a module.
    """
    name = f"{maker.__module__}:{getattr(maker, '__qualname__', '')}"
    if not re.fullmatch(r"[\w.]+:\w+", name):
        raise UserError(f"{maker} has no name; define it at the top level of a module")
    return name
