"""Datasets of BigDataViewer."""

from pathlib import Path

import numpy as np
import pytest

from correlight.errors import ReadError, TransformError, UsageError
from correlight.exchange import ExchangeContext
from correlight.exchange.bdv import read_bdv, write_bdv
from correlight.transforms import Affine, Projective
from tests.exchange.vector import FIXED_FROM_MOVING_3D, MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart


def setup(number: int, name: str, size: str, voxel: str, unit: str = "um") -> str:
    return (
        f"<ViewSetup><id>{number}</id><name>{name}</name><size>{size}</size>"
        f"<voxelSize><unit>{unit}</unit><size>{voxel}</size></voxelSize></ViewSetup>"
    )


def registration(number: int, *affines: str, time: int = 0) -> str:
    inner = "".join(f'<ViewTransform type="affine"><affine>{a}</affine></ViewTransform>' for a in affines)
    return f'    <ViewRegistration timepoint="{time}" setup="{number}">{inner}</ViewRegistration>\n'


def dataset(*parts: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<SpimData version="0.2">\n<!-- <ViewRegistration timepoint="9" '
        'setup="9"> -->\n<SequenceDescription>'
        '<ImageLoader format="bdv.n5"><n5 type="relative">a.n5</n5></ImageLoader>'
        + "".join(part for part in parts if part.startswith("<ViewSetup"))
        + "</SequenceDescription>\n<ViewRegistrations>\n"
        + "".join(part for part in parts if not part.startswith("<ViewSetup"))
        + "</ViewRegistrations>\n</SpimData>\n"
    )


EM = setup(0, "em", "500 400 7", "0.01 0.02 0.05")
LM = setup(1, "lm", "50 40 5", "0.1 0.2 0.4")
EM_SCALE, LM_SCALE = "0.01 0 0 0 0 0.02 0 0 0 0 0.05 0", "0.1 0 0 0 0 0.2 0 0 0 0 0.4 0"
VECTOR = "0.8660254037844386 -0.5 0 3 0.5 0.8660254037844386 0 2 0 0 1 1"
SHIFT = "1 0 0 66 0 1 0 -1 0 0 1 5"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_the_quoted_transform_is_read_with_the_calibration_last(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", dataset(EM, LM, registration(0, EM_SCALE), registration(1, VECTOR, LM_SCALE)))
    assert apart(read_bdv(path), MOVING_FROM_FIXED_3D) < 1e-9


def test_the_order_of_the_list_matters_and_the_last_acts_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xml", dataset(EM, LM, registration(0, EM_SCALE), registration(1, SHIFT, VECTOR, LM_SCALE))
    )
    shift = Affine.of(np.eye(3), [5.0, -1.0, 66.0])
    assert apart(read_bdv(path), (shift @ FIXED_FROM_MOVING_3D).inverse()) < 1e-9


def test_a_fixed_image_that_was_moved_itself_is_taken_into_account(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xml", dataset(EM, LM, registration(0, SHIFT, EM_SCALE), registration(1, SHIFT, VECTOR, LM_SCALE))
    )
    assert apart(read_bdv(path), MOVING_FROM_FIXED_3D) < 1e-9


@pytest.mark.parametrize(("unit", "length"), [("nm", 1e-3), ("mm", 1e3), ("µm", 1.0), ("pixel", 1.0)])
def test_units_become_micrometres(unit: str, length: float, tmp_path: Path) -> None:
    one = setup(0, "lm", "50 40 5", "0.1 0.2 0.4", unit)
    path = write(tmp_path / "a.xml", dataset(one, registration(0, VECTOR, LM_SCALE)))
    expected = Affine.of(FIXED_FROM_MOVING_3D.linear, FIXED_FROM_MOVING_3D.offset * length).inverse()
    assert apart(read_bdv(path), expected) < 1e-9 * length


def test_flat_images_are_two_dimensional(tmp_path: Path) -> None:
    flat = [setup(0, "em", "500 400 1", "0.01 0.01 0.01"), setup(1, "lm", "50 40 1", "0.1 0.1 0.1")]
    turn = "0.8660254037844386 -0.5 0 3 0.5 0.8660254037844386 0 2 0 0 1 0"
    scale = "0.1 0 0 0 0 0.1 0 0 0 0 0.1 0"
    text = dataset(*flat, registration(0, scale.replace("0.1", "0.01")), registration(1, turn, scale))
    assert apart(read_bdv(write(tmp_path / "a.xml", text)), MOVING_FROM_FIXED_2D) < 1e-9
    assert read_bdv(tmp_path / "a.xml", ExchangeContext(ndim=3)).ndim == 3


def test_what_leaves_the_plane_is_not_read_as_flat(tmp_path: Path) -> None:
    tilt = "1 0 0.1 0 0 1 0 0 0 0 1 0"
    path = write(tmp_path / "a.xml", dataset(EM, LM, registration(0, EM_SCALE), registration(1, tilt, LM_SCALE)))
    with pytest.raises(TransformError, match="leaves the plane"):
        read_bdv(path, ExchangeContext(ndim=2))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["1", "lm", None])
def test_a_registration_goes_on_top_and_all_else_stays(name: str | None, end: str, tmp_path: Path) -> None:
    text = dataset(EM, LM, registration(0, SHIFT, EM_SCALE), registration(1, SHIFT, LM_SCALE)).replace("\n", end)
    into = write(tmp_path / "a.xml", text)
    write_bdv(tmp_path / "b.xml", MOVING_FROM_FIXED_3D, ExchangeContext(into=into, name=name))
    after = (tmp_path / "b.xml").read_bytes().decode()
    added = after[len(text) - len(after) :]
    start = next(i for i in range(len(text)) if text[i] != after[i])
    added = after[start : start + len(after) - len(text)]
    assert text == after[:start] + after[start + len(added) :]
    assert added.count("<ViewTransform") == 1
    assert text[:start].rstrip().endswith('<ViewRegistration timepoint="0" setup="1">')
    assert apart(read_bdv(tmp_path / "b.xml", ExchangeContext(name=name)), MOVING_FROM_FIXED_3D) < 1e-9


def test_every_time_of_the_moving_image_is_registered(tmp_path: Path) -> None:
    text = dataset(
        EM, LM, registration(0, EM_SCALE), registration(1, LM_SCALE), registration(1, SHIFT, LM_SCALE, time=1)
    )
    write_bdv(tmp_path / "b.xml", MOVING_FROM_FIXED_3D, ExchangeContext(into=write(tmp_path / "a.xml", text)))
    after = (tmp_path / "b.xml").read_text()
    assert after.count("<Name>correlight</Name>") == 2
    assert apart(read_bdv(tmp_path / "b.xml"), MOVING_FROM_FIXED_3D) < 1e-9


def test_a_registration_in_a_comment_is_not_taken_for_one(tmp_path: Path) -> None:
    text = dataset(EM, LM, registration(0, EM_SCALE), registration(1, LM_SCALE)).replace('"9"', '"1"', 2)
    text = text.replace('timepoint="1" setup="1"', 'timepoint="0" setup="1"', 1)
    with pytest.raises(ReadError, match="could not be found"):
        write_bdv(tmp_path / "b.xml", MOVING_FROM_FIXED_3D, ExchangeContext(into=write(tmp_path / "a.xml", text)))
    assert not (tmp_path / "b.xml").exists()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the one to write into"):
        write_bdv(tmp_path / "b.xml", MOVING_FROM_FIXED_3D, ExchangeContext())
    with pytest.raises(TransformError, match="affine transforms only"):
        write_bdv(tmp_path / "b.xml", Projective(np.eye(3)), ExchangeContext())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (dataset(EM, LM), "View setups with a registration"),
        (dataset(EM, registration(1, LM_SCALE)), "View setups with a registration"),
        (dataset(EM, LM, registration(0, "1 2 3"), registration(1, LM_SCALE)), "12 finite numbers"),
        (dataset(EM, LM, registration(0, EM_SCALE), registration(1, " ".join(["0"] * 12))), "singular"),
        (dataset(EM, LM, registration(0, EM_SCALE), registration(1, " ".join(["nan"] * 12))), "finite"),
        (dataset(setup(0, "a", "1 1 1", "0 1 1"), registration(0, EM_SCALE)), "positive"),
        (dataset(setup(0, "a", "1 1 1", "1 1 1", "furlong"), registration(0, EM_SCALE)), "furlong"),
        (dataset(*[setup(n, "a", "9 9 9", "1 1 1") for n in (0, 1, 2)], *[registration(n, SHIFT) for n in (0, 1, 2)]),
         "One moving setup"),
        ("<SpimData>", "no well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><SpimData>&b;</SpimData>', "document type"),
    ],
)  # fmt: skip
def test_damaged_datasets_are_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=words) as caught:
        read_bdv(write(tmp_path / "a.xml", text))
    assert "a.xml" in str(caught.value)
