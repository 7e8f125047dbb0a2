"""Files damaged at random: whatever comes out is one sentence of ours, or a transform, never another exception."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import CorrelightError
from correlight.exchange import ExchangeContext, LandmarkTable, PointTable, read_file, write_file
from correlight.geometry import Grid
from correlight.transforms import Affine, BSplineField, Chain, Displacement
from tests.exchange.test_bdv import EM, EM_SCALE, LM, LM_SCALE, VECTOR, dataset, registration

RNG = np.random.default_rng(0)
CONTEXT = ExchangeContext(
    Grid.of((40, 50), 0.01, unit="micrometre"), Grid.of((20, 30), 0.1, unit="micrometre"), name="lm", ndim=2
)
AFFINE = Affine(np.array([[1.2, 0.1, 3], [-0.2, 0.9, 4], [0, 0, 1]]))
FIELD = Displacement(RNG.normal(size=(4, 5, 2)), Grid.of((4, 5), 0.5, 1.0, "micrometre"))
SPLINE = BSplineField(RNG.normal(size=(5, 6, 2)), Grid.of((5, 6), unit="micrometre"))
POINTS = PointTable(("a", "b", "c"), RNG.normal(size=(3, 2)), "micrometre")
LANDMARKS = LandmarkTable(POINTS, POINTS)
FILES: dict[str, tuple[Any, str | None]] = {
    "a.tfm": (AFFINE, None), "field.tfm": (FIELD, None), "spline.tfm": (SPLINE, None),
    "a.h5": (Chain((FIELD, AFFINE)), None), "elastix.txt": (AFFINE, "elastix"), "matrix.txt": (AFFINE, None),
    "matrix.json": (AFFINE, None), "napari.csv": (AFFINE, "napari"), "trakem2.xml": (AFFINE, "trakem2"),
    "ecclem.xml": (AFFINE, "ecclem"), "pairs.xml": (LANDMARKS, "ecclem"), "mobie.json": (AFFINE, "mobie"),
    "bigwarp.csv": (LANDMARKS, "bigwarp"), "bigwarp.json": (LANDMARKS, "bigwarp"), "table.csv": (LANDMARKS, None),
    "points.csv": (POINTS, None), "points.txt": (POINTS, None), "bdv.xml": (None, "bdv"), "a.zarr": (FIELD, None),
}  # fmt: skip
WORDS = [b"nan", b"inf", b"1e999", b"-1", b"0", b"", b"null", b"[]", b"{}", b'"', b"<", b"\0", b"\xff", b"9" * 20, b"x"]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, the end or a part cut out, or a word replaced by one that is not expected there."""
    way, (low, high) = rng.integers(4), sorted(rng.integers(len(data), size=2))
    if way == 0:
        changed = bytearray(data)
        changed[low], changed[high] = rng.integers(256, size=2)
        return bytes(changed)
    if way == 1:
        return data[:low]
    if way == 2:
        return data[:low] + data[high:]
    words = list(re.finditer(rb"[\w.+-]+", data))
    word = words[rng.integers(len(words))]
    return data[: word.start()] + WORDS[rng.integers(len(WORDS))] + data[word.end() :]


@pytest.mark.parametrize("name", FILES)
def test_random_damage_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    content, form = FILES[name]
    path = tmp_path / name
    if content is None:
        path.write_text(dataset(EM, LM, registration(0, EM_SCALE), registration(1, VECTOR, LM_SCALE)))
    else:
        write_file(path, content, form, CONTEXT)
    known = replace(CONTEXT, name=None) if path.is_dir() else CONTEXT
    parts = sorted(path.rglob("zarr.json")) if path.is_dir() else [path]
    rng, refused = np.random.default_rng(1), 0
    # A process of its own reads these, which takes a fifth of a second each time.
    for _ in range(20 if name in ("a.h5", "a.zarr") else 60):
        part = parts[rng.integers(len(parts))]
        whole = part.read_bytes()
        part.write_bytes(damaged(whole, rng))
        for asked in {form, None}:
            try:
                read_file(path, asked, known)
            except CorrelightError as error:
                refused += 1
                if "\n" in str(error):
                    pytest.fail(f"more than one line: {error}")
        part.write_bytes(whole)
    assert refused > 0
