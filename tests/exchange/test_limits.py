"""What is never opened, never followed, and never takes more than it may: pipes, devices, links, endless files."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from correlight import parsing
from correlight.errors import ReadError, WriteError
from correlight.exchange import ExchangeContext, bounded, read_file, table, write_file
from correlight.exchange.bdv import read_bdv, write_bdv
from correlight.exchange.elastix import read_elastix, read_transformix
from correlight.exchange.hdf5 import write_blocks
from correlight.exchange.itk import read_itk
from correlight.exchange.table import read_points
from correlight.geometry import Grid
from correlight.parsing import parse_xml, read_bytes
from correlight.transforms import Affine, Chain, Displacement
from tests.exchange.test_bdv import EM, EM_SCALE, LM, LM_SCALE, VECTOR, dataset, registration
from tests.exchange.vector import MOVING_FROM_FIXED_3D, apart

FIELD = Displacement(np.random.default_rng(0).normal(size=(4, 5, 2)), Grid.of((4, 5), 0.5, 1.0, "micrometre"))
TYPE = np.array([b"TranslationTransform_double_2_2"], dtype=h5py.string_dtype("ascii"))
READERS: list[tuple[str, Callable[[Path], Any]]] = [
    ("a.csv", read_file), ("a.json", read_file), ("a.xml", read_file), ("a.txt", read_file), ("a.tfm", read_file),
    ("a.h5", read_file), ("a.mat", read_file), ("b.csv", read_points), ("b.tfm", read_itk), ("b.txt", read_elastix),
]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize(("name", "reader"), READERS)
def test_a_pipe_is_refused_without_waiting_for_it(name: str, reader: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ReadError, match="name a regular file"):
        reader(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless device here")
@pytest.mark.parametrize(("name", "reader"), READERS)
def test_an_endless_device_is_refused(name: str, reader: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(ReadError, match="name a regular file"):
        reader(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.txt", "a.tfm", "a.mat"])
def test_a_file_without_end_is_not_read_whole(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(8 * 2**30)  # takes no room on the disk
    with pytest.raises(ReadError, match="MiB"):
        read_file(tmp_path / name, "table" if name == "a.csv" else None)
    with pytest.raises(ReadError, match="more than 1 MiB"):
        read_bytes(tmp_path / name, "a small file", limit=2**20)


def hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["TransformGroup/0/TransformType"] = TYPE
    return path


def external(path: Path, group: Any) -> None:
    (path.parent / "secret").write_bytes(np.array([3.0, 4.0]).tobytes())
    group.create_dataset("TransformParameters", (2,), "f8", external=[(str(path.parent / "secret"), 0, 16)])


def external_link(path: Path, group: Any) -> None:
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["numbers"] = np.array([3.0, 4.0])
    group["TransformParameters"] = h5py.ExternalLink("other.h5", "/numbers")


def soft_link(path: Path, group: Any) -> None:
    group.file["numbers"] = np.array([3.0, 4.0])
    group["TransformParameters"] = h5py.SoftLink("/numbers")


def virtual(path: Path, group: Any) -> None:
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["numbers"] = np.array([3.0, 4.0])
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource(path.parent / "other.h5", "numbers", (2,))
    group.create_virtual_dataset("TransformParameters", layout)


def declared(path: Path, group: Any) -> None:
    group.create_dataset("TransformParameters", (2**29,), "f8", chunks=(1024,))


def in_sum(path: Path, group: Any) -> None:
    for name in ("TransformParameters", "TransformFixedParameters"):
        group.create_dataset(name, (600,), "f8", chunks=(100,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "another file"),
        (external_link, "a link to another place"),
        (soft_link, "a link to another place"),
        (virtual, "another file"),
        (declared, "more than is read"),
        (in_sum, "more than is read"),
    ],
)
def test_hdf5_brings_its_own_numbers_and_not_too_many(
    change: Callable[[Path, Any], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if change is in_sum:
        monkeypatch.setattr(bounded, "LIMIT", 8000)
    path = hdf5(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(path, file["TransformGroup/0"])
    with pytest.raises(ReadError, match=words):
        read_itk(path)


def test_two_wrong_bytes_do_not_lead_hdf5_round_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_SECONDS", 3)
    monkeypatch.setattr(bounded, "_PATIENCE", 1)
    write_file(tmp_path / "a.h5", Chain((FIELD, Affine.identity())))
    whole = (tmp_path / "a.h5").read_bytes()
    began = time.monotonic()
    # At the second place HDF5 2.0 goes round in circles; the others are refused, or hold nothing that is read.
    for start in (600, 2368, len(whole) // 2):
        (tmp_path / "a.h5").write_bytes(whole[:start] + b"\0\0" + whole[start + 2 :])
        try:
            read_itk(tmp_path / "a.h5")
        except ReadError as error:
            assert "a.h5" in str(error)  # noqa: PT017
    assert time.monotonic() - began < 30


def test_a_reader_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a.h5", FIELD)
    (tmp_path / "endless.py").write_text("while True: pass\n")
    monkeypatch.setattr(bounded, "_SECONDS", 1)
    monkeypatch.setattr(bounded, "_PATIENCE", 1)
    monkeypatch.setattr(bounded.bounded_process, "__file__", str(tmp_path / "endless.py"))  # type: ignore[attr-defined]
    with pytest.raises(ReadError, match="could not be read within 1 s"):
        read_itk(tmp_path / "a.h5")


def test_a_reader_that_crashes_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a.h5", FIELD)
    (tmp_path / "crash.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(bounded.bounded_process, "__file__", str(tmp_path / "crash.py"))  # type: ignore[attr-defined]
    with pytest.raises(ReadError, match="truncated or damaged"):
        read_itk(tmp_path / "a.h5")


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as a disk that is full after so many bytes
from correlight.cli import main
sys.exit(main(["convert", "field.tfm", sys.argv[1]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited here")
@pytest.mark.parametrize("name", ["out.h5", "out.tfm"])
def test_a_field_on_a_full_disk_ends_in_one_sentence_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    field = Displacement(np.random.default_rng(0).normal(size=(40, 50, 2)), Grid.of((40, 50), unit="micrometre"))
    write_file(tmp_path / "field.tfm", field)
    done = subprocess.run([sys.executable, "-c", FULL, name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["field.tfm"]


def test_a_file_that_cannot_be_written_whole_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        write_blocks(tmp_path / "none" / "a.h5", [])
    if Path("/dev/full").exists():
        with pytest.raises(WriteError, match="No space left"):
            write_blocks("/dev/full", [])


def test_a_chain_of_elastix_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    text = '(Transform "TranslationTransform")\n(FixedImageDimension 2)\n(MovingImageDimension 2)\n'
    text += "(TransformParameters 1 2)\n"
    (tmp_path / "far" / "first.txt").write_text(text)
    (tmp_path.parent / "first.txt").write_text(text)
    for name in (str(tmp_path / "far" / "first.txt"), "far/first.txt", "../first.txt", "far\\\\first.txt", ".."):
        (tmp_path / "second.txt").write_text(f'{text}(InitialTransformParameterFileName "{name}")\n')
        with pytest.raises(ReadError, match=r"not found beside it|in another folder"):
            read_elastix(tmp_path / "second.txt")
    (tmp_path / "second.txt").write_text(f'{text}(InitialTransformParameterFileName "first.txt")\n')
    (tmp_path / "first.txt").symlink_to(tmp_path / "far" / "first.txt")
    with pytest.raises(ReadError, match="a link to another folder"):
        read_elastix(tmp_path / "second.txt")
    (tmp_path / "first.txt").unlink()
    (tmp_path / "first.txt").write_text(text)
    # elastix writes the folder with which it was called; the file of that name beside is the one that is meant.
    (tmp_path / "second.txt").write_text(f'{text}(InitialTransformParameterFileName "/gone/first.txt")\n')
    assert read_elastix(tmp_path / "second.txt")([[0.0, 0.0]]).tolist() == [[4.0, 2.0]]
    # Two slashes in a name begin no comment.
    (tmp_path / "second.txt").write_text(f'{text}(InitialTransformParameterFileName "out//first.txt") // "first"\n')
    assert read_elastix(tmp_path / "second.txt")([[0.0, 0.0]]).tolist() == [[4.0, 2.0]]
    # There is a file of that name beside, but it is not the one that is meant.
    for place in (tmp_path / "far" / "first.txt", "far/first.txt"):
        (tmp_path / "second.txt").write_text(f'{text}(InitialTransformParameterFileName "{place}")\n')
        with pytest.raises(ReadError, match="in another folder"):
            read_elastix(tmp_path / "second.txt")


def test_a_field_of_zarr_stays_in_its_folder_and_brings_no_filter_of_others(tmp_path: Path) -> None:
    write_file(tmp_path / "a.zarr", FIELD)
    array = tmp_path / "a.zarr" / "coordinateTransformations" / "step_0" / "s0"
    meta = (array / "zarr.json").read_text()
    (array / "zarr.json").write_text(meta.replace('"bytes"', '"numcodecs.pickle"'))
    with pytest.raises(ReadError, match=r"codec 'numcodecs\.pickle', which is not read"):
        read_file(tmp_path / "a.zarr")
    (array / "zarr.json").write_text(meta)
    chunk = next(path for path in array.rglob("*") if path.is_file() and path.name != "zarr.json")
    data = chunk.read_bytes()
    chunk.unlink()
    chunk.symlink_to("/dev/zero")
    with pytest.raises(ReadError, match="no file of its own"):
        read_file(tmp_path / "a.zarr")
    chunk.unlink()
    chunk.write_bytes(data)
    assert isinstance(read_file(tmp_path / "a.zarr"), Displacement)


LONG = 200_000


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (read_elastix, "(a " + " " * LONG + "b"),
        (read_elastix, "(" + "a" * LONG + "\n(Transform " + '" ' * LONG + ")"),
        (read_transformix, "Point\t" + "OutputPoint = [" * (LONG // 8)),
    ],
)
def test_long_lines_take_no_more_time_than_they_are_long(reader: Any, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    began = time.process_time()
    with pytest.raises(ReadError):
        reader(tmp_path / "a.txt")
    # A pattern that goes back at every character takes minutes.
    assert time.process_time() - began < 5


def test_the_place_of_a_registration_is_found_in_one_pass(tmp_path: Path) -> None:
    whole = dataset(EM, LM, registration(0, EM_SCALE), registration(1, VECTOR, LM_SCALE))
    # Spaces before a tag and letters in one, which a pattern would try from each of them on.
    padded = whole.replace("<ViewRegistrations>", f"<ViewRegistrations>{' ' * LONG}<Spare{'a' * LONG}/>{' ' * LONG}")
    (tmp_path / "a.xml").write_text(padded)
    began = time.process_time()
    write_bdv(tmp_path / "b.xml", MOVING_FROM_FIXED_3D, ExchangeContext(into=tmp_path / "a.xml"))
    assert time.process_time() - began < 5
    assert apart(read_bdv(tmp_path / "b.xml", ExchangeContext(ndim=3)), MOVING_FROM_FIXED_3D) < 1e-9


def test_a_document_of_countless_elements_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_MOST_ELEMENTS", 1000)
    assert len(parse_xml(f"<a>{'<b/>' * 999}</a>", "It")) == 999
    with pytest.raises(ReadError, match=r"more than 1,000 elements"):
        parse_xml(f"<a>{'<b/>' * 1000}</a>", "It")


def test_numbers_out_of_this_world_are_refused(tmp_path: Path) -> None:
    head = "#Insight Transform File V1.0\nTransform: AffineTransform_double_2_2\nFixedParameters: 0 0\nParameters: "
    for numbers, words in (("1 0 0 1 1e300 0", "reach 1e"), ("1 2 2 4 0 0", "flattens"), ("0 0 0 0 0 0", "flattens")):
        (tmp_path / "a.tfm").write_text(f"{head}{numbers}\n")
        with pytest.raises(ReadError, match=words):
            read_itk(tmp_path / "a.tfm")


def test_a_table_of_countless_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MOST_ROWS", 100)
    (tmp_path / "a.csv").write_text("y,x\n" + "1,2\n" * 100)
    assert len(read_points(tmp_path / "a.csv").points) == 100
    (tmp_path / "a.csv").write_text("y,x\n" + "1,2\n" * 101)
    with pytest.raises(ReadError, match="more than 100 rows"):
        read_points(tmp_path / "a.csv")
