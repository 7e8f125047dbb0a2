"""Results described as an RO-Crate of the profile Process Run Crate: inputs by checksum, what was done and came of it.

Nothing in a description depends on when or how quickly the work was done, but for the day that the standard asks for:
of the youngest result. Files that hold times themselves are therefore listed without a checksum; the manifest of the
folder has theirs. Specifications: https://doi.org/10.3233/DS-210053 and https://doi.org/10.1371/journal.pone.0309210.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from correlight.errors import UsageError
from correlight.output.manifest import checksums
from correlight.parsing import read_json

NAME = "ro-crate-metadata.json"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
# The standard that the profile builds on.
_STANDARD = "1.1"
# The standard asks for one, and only the owner of the images knows it.
_LICENCE = "That of the images that were registered, which their files do not state"
_TIMED = {"result.json", "report.html", "row.json"}
_KINDS = {
    ".csv": "text/csv",
    ".h5": "application/x-hdf5",
    ".html": "text/html",
    ".json": "application/json",
    ".png": "image/png",
    ".tfm": "text/plain",
    ".tif": "image/tiff",
    ".txt": "text/plain",
}
_WHAT = {
    "result.json": "The verdict and everything it is based on, with the options of the run and the versions used",
    "moving_from_fixed": "The transform from positions in the fixed image to positions in the moving image",
    "registered": "Every channel of the moving image on the pixels of the fixed image",
    "composite": "The fixed image and every registered channel, as the channels of one image",
    "footprint.tif": "1 where the registered image was sampled from valid pixels, 0 where it was not",
    "predicted_error.tif": "The predicted error on a coarse grid over the fixed image; NaN where it is unknown",
    "beads.csv": "The beads of both images that match, with what the transform leaves between them",
    "field_displacement.tif": "How far a smooth field moves places beyond the linear map",
    "field_evidence.tif": "How far a smooth field rests on the images, 1, or on smoothness alone, 0",
    "overlay.png": "Both images on top of each other, with a scale bar",
    "report.html": "The overlay, the verdict and the evidence on one page",
}


def must_be_installed() -> None:
    """Raise `UsageError` if there is nothing that could describe results."""
    if find_spec("rocrate") is None:
        raise UsageError(
            "The description as an RO-Crate takes a package that is not installed; install correlight with the extra "
            "crate."
        )


class Crate:
    """A description under way.

    Parameters
    ----------
    name, description : str
        Of the folder.
    day : date
        When the results in it were made.
    """

    def __init__(self, name: str, description: str, day: date) -> None:
        from rocrate.rocrate import ROCrate

        self._crate = ROCrate(version=_STANDARD)
        root = self._crate.root_dataset
        root["name"], root["description"], root["datePublished"] = name, description, day.isoformat()
        profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": _PROFILE.rpartition("/")[2]}
        root["conformsTo"] = self._context(_PROFILE, profile)
        root["license"] = _LICENCE
        # By what it consisted of: the rows of a batch may have been registered on several machines.
        self._software: dict[frozenset[tuple[str, str]], Any] = {}

    def add_part(self, path: str, description: str, checksum: str = "") -> Any:
        """A file, or a folder where the path ends with a slash, by its path in the described folder."""
        from rocrate.model.dataset import Dataset
        from rocrate.model.file import File

        told = {"name": Path(path).name, "description": description}
        if path.endswith("/"):
            return self._crate.add(Dataset(self._crate, dest_path=path, properties=told))
        told |= {"encodingFormat": _KINDS.get(Path(path).suffix, "application/octet-stream")}
        return self._crate.add(
            File(self._crate, dest_path=path, properties=told | ({"sha256": checksum} if checksum else {}))
        )

    def add_input(self, path: str, checksum: str) -> Any:
        """A file that was read and lies elsewhere: named by what is in it (RFC 6920), whatever it is called."""
        from rocrate.model.data_entity import DataEntity

        digest = base64.urlsafe_b64encode(bytes.fromhex(checksum)).decode().rstrip("=")
        told = {
            "@type": "File",
            "name": Path(path).name,
            "alternateName": path,
            "encodingFormat": _KINDS.get(Path(path).suffix.lower(), "application/octet-stream"),
            "sha256": checksum,
        }
        identifier = f"ni:///sha-256;{digest}"
        return self._crate.get(identifier) or self._crate.add(DataEntity(self._crate, identifier, properties=told))

    def add_action(
        self,
        name: str,
        title: str,
        description: str,
        day: date,
        versions: Mapping[str, str],
        inputs: Iterable[Any],
        options: Mapping[str, str],
        results: Iterable[Any],
        *,
        error: str = "",
    ) -> None:
        """A registration: by what and when, what it read, its options, and what it wrote, or why it failed."""
        identifier = f"#registration/{quote(name, safe='')}" if name else "#registration"
        stated = [
            self._context(f"{identifier}/{key}", {"@type": "PropertyValue", "name": key, "value": value})
            for key, value in sorted(options.items())
        ]
        told: dict[str, Any] = {
            "@type": "CreateAction",
            "name": title,
            "description": description,
            "instrument": self._program(versions),
            "object": [*inputs, *stated],
            "result": list(results),
            "endTime": day.isoformat(),
            "actionStatus": f"http://schema.org/{'Failed' if error else 'Completed'}ActionStatus",
        }
        action = self._context(identifier, told | ({"error": error} if error else {}))
        self._crate.root_dataset.append_to("mentions", action, compact=True)

    def text(self) -> str:
        """The content of ``ro-crate-metadata.json``."""
        return json.dumps(self._crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def _program(self, versions: Mapping[str, str]) -> Any:
        """Correlight of a version, with what it calculates with."""
        key = frozenset(versions.items())
        if key not in self._software:
            others = [self._library(*one) for one in sorted(versions.items()) if one[0] != "correlight"]
            own = {"@type": "SoftwareApplication", "name": "correlight", "version": versions["correlight"]}
            number = f"-{len(self._software) + 1}" if self._software else ""
            self._software[key] = self._context(f"#correlight{number}", {**own, "softwareRequirements": others})
        return self._software[key]

    def _library(self, name: str, version: str) -> Any:
        home = f"https://pypi.org/project/{quote(name)}/{version}/"
        if name == "python":
            home = f"https://www.python.org/downloads/release/python-{version.replace('.', '')}/"
        return self._crate.get(home) or self._context(
            home, {"@type": "SoftwareApplication", "name": name, "version": version, "url": home}
        )

    def _context(self, identifier: str, properties: Mapping[str, Any]) -> Any:
        from rocrate.model.contextentity import ContextEntity

        return self._crate.add(ContextEntity(self._crate, identifier, properties=dict(properties)))


def day_of(paths: Iterable[Path]) -> date:
    """The day (UTC) on which the youngest of some files was written; that of the epoch of none."""
    return datetime.fromtimestamp(max((os.stat(path).st_mtime for path in paths), default=0.0), UTC).date()


def write_crate(folder: Path) -> None:
    """Describe the folder of a result from what it holds (`must_be_installed` says whether that can be done).

    Raises
    ------
    ReadError
        If it holds no ``result.json``.
    OSError
        If the description cannot be written.
    """
    record = folder / "result.json"
    content = read_json(record, "the record of a registration")
    asked = content["asked"]
    sums = asked["sha256"]
    fixed, moving = (Path(asked[role]).name for role in ("fixed", "moving"))
    title = f"Registration of {moving} to {fixed}"
    verdict = (
        f"{content['status'].capitalize()}, confidence {content['confidence']:.2f}. {' '.join(content['reasons'])}"
    )
    day = day_of([record])
    crate = Crate(title, verdict.strip(), day)
    inputs = [crate.add_input(asked[name], checksum) for name, checksum in sums.items() if checksum]
    results = [
        crate.add_part(path, _what(path), "" if path in _TIMED else checksum)
        for path, checksum in _parts(folder).items()
    ]
    options = {name: _said(value) for name, value in asked.items() if name != "sha256" and value not in (None, {}, "")}
    crate.add_action("", title, verdict.strip(), day, content["versions"], inputs, options, results)
    (folder / NAME).write_text(crate.text(), encoding="utf-8")


def _parts(folder: Path) -> dict[str, str]:
    """What a folder holds, with checksums: files, and stores of many files as one folder each."""
    found: dict[str, str] = {}
    for path, checksum in checksums(folder).items():
        top, _, rest = path.partition("/")
        if path != NAME:
            found[f"{top}/" if rest else top] = "" if rest else checksum
    return found


def _what(path: str) -> str:
    known = _WHAT.get(path) or _WHAT.get(path.partition(".")[0])
    return known or path.partition(".")[0].replace("_", " ").capitalize()


def _said(value: Any) -> str:
    """An option in words, as the command line takes it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return value if isinstance(value, str) else json.dumps(value)
