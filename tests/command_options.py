"""The options of the commands, read off their functions."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from correlight.cli.options import Part, Parts

# Options that several commands share, by the type that holds them.
GROUPS: dict[str, type[Part] | type[Parts]] = {"Part": Part, "Parts": Parts}


def keywords(command: Callable[..., Any]) -> set[str]:
    """Names of all keyword-only parameters of a command; those of a group one by one."""
    names: set[str] = set()
    for one in inspect.signature(command).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            group = GROUPS.get(str(one.annotation))
            names |= {part.name for part in fields(group)} if group else {one.name.rstrip("_")}
    return names
