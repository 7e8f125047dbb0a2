"""The templates of the reports."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2


def template(name: str) -> jinja2.Template:
    """A template of this folder; what it leaves undefined is an error, and what it is given is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> jinja2.Environment:
    """One for all reports of a process: to translate the templates takes as long as to fill them."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
