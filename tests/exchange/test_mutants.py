"""Files that are changed where their structure is come out as a finite transform, or as one sentence."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import CorrelightError
from correlight.exchange import ExchangeContext, LandmarkTable, PointTable, read_file, write_file
from correlight.transforms import Projective
from tests.exchange.mutants import mutant
from tests.exchange.test_bdv import EM, EM_SCALE, LM, LM_SCALE, VECTOR, dataset, registration
from tests.exchange.test_hostile import AFFINE, CONTEXT, FILES

PROJECT = (
    '<trakem2><t2_layer_set oid="3"><t2_layer oid="5" z="0.0"><t2_patch oid="10" width="30" height="20" title="lm" '
    'transform="matrix(0.9,0.1,-0.1,0.9,95.0,3.0)"><ict_transform_list><ict_transform data="5 0" '
    'class="mpicbg.trakem2.transform.TranslationModel2D"/></ict_transform_list></t2_patch></t2_layer></t2_layer_set>'
    "</trakem2>"
)
# What takes a process of its own to read is changed less often.
SLOW = {"a.h5": 8, "a.zarr": 5}
MOST = int(os.environ.get("CORRELIGHT_MUTANTS", "120"))


def written(name: str, path: Path) -> str | None:
    """Write the file of a name; returns the format that it must be read as."""
    if name == "project.xml":
        path.write_text(PROJECT)
        return "trakem2"
    if name == "affine.zarr":
        write_file(path, AFFINE, "ngff", CONTEXT)
        return "ngff"
    content, form = FILES[name]
    if name == "bdv.xml":
        path.write_text(dataset(EM, LM, registration(0, EM_SCALE), registration(1, VECTOR, LM_SCALE)))
    else:
        write_file(path, content, form, CONTEXT)
    return form


def known(name: str) -> ExchangeContext:
    """What is known of the images; a scene calls the moving one by another name."""
    return replace(CONTEXT, name=None) if name.endswith(".zarr") else CONTEXT


def usable(content: Any) -> bool:
    """Whether what was read moves places of an image to finite places, or holds such places."""
    if isinstance(content, LandmarkTable):
        return usable(content.fixed) and usable(content.moving)
    if isinstance(content, PointTable):
        return bool(len(content.points) and np.isfinite(content.points).all())
    if isinstance(content, Projective):
        return bool(np.isfinite(content.matrix).all())
    places = np.random.default_rng(0).uniform(-1e3, 1e3, size=(20, content.ndim))
    return bool(np.isfinite(content(places)).all())


@pytest.mark.parametrize("name", [*FILES, "project.xml", "affine.zarr"])
def test_every_mutant_is_read_into_something_finite_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    form = written(name, whole)
    rng, refused = np.random.default_rng(7), []
    for _ in range(SLOW.get(name, MOST)):
        if path.is_dir():
            shutil.rmtree(path)
        (shutil.copytree if whole.is_dir() else shutil.copyfile)(whole, path)
        mutant(path, rng)
        for asked in {form, None}:
            try:
                content = read_file(path, asked, known(name))
            except CorrelightError as error:
                refused.append(str(error))
                continue
            assert usable(content)
    assert refused
    assert not [said for said in refused if "\n" in said or len(said) > 1000]


def test_the_unchanged_files_are_read(tmp_path: Path) -> None:
    for name in [*FILES, "project.xml", "affine.zarr"]:
        form = written(name, tmp_path / name)
        assert usable(read_file(tmp_path / name, form, known(name))), name
