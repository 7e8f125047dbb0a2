"""Recipes: which method of each kind, with which settings; as data.

A recipe is a TOML file with a name, a summary and a table for each kind of method that it uses: ``appearance`` (where a
method compares images), ``search``, ``refinement`` and ``evidence``. Each table names its ``method`` and gives what
differs from the defaults of that method. A field that the method does not know is refused, and so are methods that do
not follow on each other, so that nothing in a recipe is without effect.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from correlight.errors import UsageError
from correlight.methods.protocols import DIMENSIONS, Dimension, Method, MethodSettings
from correlight.methods.registry import METHOD_KINDS, MethodKind, method

# No recipe is longer; what is, was not meant as one.
_LONGEST = 16 * 1024


@dataclass(frozen=True)
class Part:
    """One method of a recipe.

    Parameters
    ----------
    method : str
        Its name.
    settings : MethodSettings
        Validated by the model that the method states.
    """

    method: str
    settings: MethodSettings


@dataclass(frozen=True)
class Recipe:
    """One way of registering.

    Parameters
    ----------
    name, summary : str
        What it is called, and what it does, in a line.
    parts : dict of str to Part
        By kind of method: "search", "refinement" and "evidence"; "appearance" where images are compared.

    Raises
    ------
    UsageError
        If methods do not follow on each other, or one lacks what it needs.
    """

    name: str
    summary: str
    parts: dict[MethodKind, Part]

    def __post_init__(self) -> None:
        missing = [kind for kind in METHOD_KINDS[1:] if kind not in self.parts]
        if missing:
            raise UsageError(f"The recipe {self.name} names no {missing[0]} method; add the table [{missing[0]}].")
        search, refinement, evidence = (self._class(kind) for kind in METHOD_KINDS[1:])
        for before, gives, after, takes in (
            ("search", search.gives, "refinement", refinement.takes),
            ("refinement", refinement.gives, "evidence", evidence.takes),
        ):
            if not any(issubclass(given, taken) for given in gives for taken in takes):
                raise UsageError(
                    f"In the recipe {self.name} the {after} method {self.parts[after].method!r} cannot go on from the "  # type: ignore[index]
                    f"{before} method {self.parts[before].method!r}; choose another of the two."  # type: ignore[index]
                )
        served = [dimension for dimension in DIMENSIONS if self.serves(dimension)]
        if not served:
            raise UsageError(f"The methods of the recipe {self.name} serve no images together; choose other ones.")
        compares = any(
            self.make(kind).serves(dimension).appearance for kind in METHOD_KINDS[1:] for dimension in served
        )
        if compares and "appearance" not in self.parts:
            raise UsageError(f"The recipe {self.name} compares images and names no appearance; add [appearance].")
        if not compares and "appearance" in self.parts:
            raise UsageError(f"The recipe {self.name} names an appearance that none of its methods uses; leave it out.")

    def _class(self, kind: MethodKind) -> Any:
        return method(kind, self.parts[kind].method)

    def make(self, kind: MethodKind) -> Any:
        """A new object of the method of a kind, with its settings."""
        part = self.parts[kind]
        return method(kind, part.method)(part.settings)

    def with_settings(self, kind: MethodKind, **changes: Any) -> Recipe:
        """The recipe with other settings of one of its methods.

        Raises
        ------
        UsageError
            If the method does not know one of them, or a value does not fit.
        """
        part = self.parts[kind]
        stated = {**part.settings.model_dump(exclude_unset=True), **changes}
        return replace(self, parts={**self.parts, kind: _part(self.name, kind, {"method": part.method, **stated})})

    def with_predictor(self, folder: str | Path) -> Recipe:
        """The recipe with the model in a folder as its predictor.

        Raises
        ------
        UsageError
            If the recipe predicts nothing.
        """
        part = self.parts.get("appearance")
        if part is None or "predictor" not in type(part.settings).model_fields:
            raise UsageError(
                f"The recipe {self.name} predicts nothing, so it takes no predictor; choose one that does, such as "
                "predicted-stain."
            )
        return self.with_settings("appearance", predictor=str(folder))

    def serves(self, dimension: Dimension) -> bool:
        """Whether all of its methods serve images of a kind."""
        return all(self._serves(kind, dimension) for kind in self.parts)

    def _serves(self, kind: MethodKind, dimension: Dimension) -> bool:
        made: Method = self.make(kind)
        return dimension in made.serves(dimension).dimensions


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in resources.files(__name__).iterdir() if entry.name.endswith(".toml"))


def load(recipe: str | Path) -> Recipe:
    """A recipe by its name, or from a TOML file.

    Raises
    ------
    UsageError
        If there is no such recipe, or the file does not hold one.

    Examples
    --------
    >>> load("auto").parts["search"].method
    'features'
    """
    if not isinstance(recipe, str | Path):
        raise UsageError(f"A recipe is a name, a .toml file or a Recipe; got {type(recipe).__name__}.")
    path = Path(recipe)
    if path.suffix == ".toml":
        text = _read(path)
    elif str(recipe) in names():
        text = resources.files(__name__).joinpath(f"{recipe}.toml").read_text(encoding="utf-8")
    else:
        raise UsageError(f"There is no recipe {str(recipe)!r}; choose {', '.join(names())} or a .toml file.")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError only
        raise UsageError(f"The recipe {recipe} is not valid TOML: {str(error).partition(';')[0]}.") from error
    return _recipe(str(recipe), content)


def _read(path: Path) -> str:
    """The text of a file that may be a recipe."""
    try:
        if not path.is_file():
            what = "no regular file" if path.exists() else "no such file"
            raise UsageError(f"The recipe {path} cannot be read ({what}); check the path.")
        with path.open("rb") as file:
            read = file.read(_LONGEST + 1)
        if len(read) > _LONGEST:
            raise UsageError(f"The recipe {path} is longer than {_LONGEST // 1024} KiB; a recipe has some 20 lines.")
        return read.decode("utf-8")
    except OSError as error:
        raise UsageError(f"The recipe {path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The recipe {path} is not text in UTF-8; save it as such.") from error


def _recipe(where: str, content: dict[str, Any]) -> Recipe:
    unknown = sorted(set(content) - {"name", "summary", *METHOD_KINDS})
    if unknown:
        raise UsageError(
            f"The recipe {where} does not fit at {unknown[0]!r}: a recipe has a name, a summary and the tables "
            f"{', '.join(METHOD_KINDS)}."
        )
    said = {}
    for key in ("name", "summary"):
        if not isinstance(content.get(key), str):
            raise UsageError(f"The recipe {where} does not fit at {key!r}: a text was expected.")
        said[key] = content[key]
    return Recipe(
        said["name"],
        said["summary"],
        {kind: _part(where, kind, content[kind]) for kind in METHOD_KINDS if kind in content},
    )


def _part(where: str, kind: MethodKind, table: Any) -> Part:
    name = table.get("method") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise UsageError(f"The recipe {where} does not fit at {kind!r}: a table that names its method was expected.")
    settings = {key: value for key, value in table.items() if key != "method"}
    try:
        return Part(name, method(kind, name).Settings.model_validate(settings))
    except UsageError as error:
        raise UsageError(f"The recipe {where} does not fit at '{kind}.method': {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in (kind, *first["loc"]))
        raise UsageError(f"The recipe {where} does not fit at {at!r}: {first['msg']}.") from error
