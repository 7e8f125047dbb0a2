"""What reaches the terminal of a user: our sentences, and nothing of what libraries warn, log or print themselves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.fuzz import seeds
from tests.fuzz.mutate import change

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")

# Runs the commands in standard input, one line each, as processes of their own that need not load anything.
PROGRAM = """
import os, sys
import correlight.cli.program, correlight.output.apply, correlight.output.convert, correlight.io.write
from correlight import cli
for number, line in enumerate(sys.stdin):
    child = os.fork()
    if not child:
        sys.argv = ["correlight", *line.split()]
        os.dup2(os.open(f"{number}.said", os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        {noise}
        code = cli.main()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# What libraries do, each in its own way: warn, log, print from C, and complain when objects are deleted.
NOISE = """
        import correlight.exchange as there
        kept = there.read_file
        def noisy(*given):
            import logging, warnings, numpy
            warnings.warn("of Pillow", RuntimeWarning)
            numpy.float32(3e38) * numpy.float32(3e38)
            logging.getLogger("zarr.core").error("of zarr")
            os.write(2, b"of OpenBLAS and ONNX, from C")
            type("Odd", (), {"__del__": lambda self: 1 / 0})()
            return kept(*given)
        import correlight.output.convert as used
        used.read_file = noisy
"""


def said(commands: list[str], home: Path, noise: str = "", debug: str = "") -> list[tuple[int, str]]:
    """Exit code and standard error of each command."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{noise}", noise.strip())],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=home,
        check=True,
        env={**os.environ, "CORRELIGHT_DEBUG": debug},
    )
    codes = [int(code) for code in done.stdout.split()]
    return [(code, (home / f"{number}.said").read_text()) for number, code in enumerate(codes)]


def test_libraries_do_not_speak_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("name,unit,y,x\na,pixel,1,2\n")
    commands = ["convert p.csv q.csv", "convert p.csv p.csv"]
    (code, words), (wrong, sentence) = said(commands, tmp_path, NOISE)
    assert (code, words) == (0, "")
    assert wrong == 2
    assert sentence.startswith("correlight: ")
    assert sentence.count("\n") == 1
    (_, words), *_ = said(["convert p.csv r.csv"], tmp_path, NOISE, debug="1")
    for part in ("of Pillow", "overflow", "of zarr", "from C", "ZeroDivisionError"):
        assert part in words


def test_damaged_files_are_one_sentence_and_nothing_else(tmp_path: Path) -> None:
    """Files whose structure is changed at random, and pixels with which NumPy cannot calculate."""
    names = [name for name in seeds.NAMES if not name.startswith("transform-")]
    commands = []
    for number in range(22):
        name = names[number % len(names)]
        path = seeds.write(name, tmp_path / f"m{number}")
        change(path, np.random.default_rng([3, number]))
        place = path.relative_to(tmp_path)
        commands.append(f"apply t.tfm {place} --like good.tif -o o{number}")
    (tmp_path / "t.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_2_2\n"
        "Parameters: 1 0 0 1 0 0\nFixedParameters: 0 0\n"
    )
    tifffile.imwrite(tmp_path / "good.tif", seeds.GREY)
    tifffile.imwrite(tmp_path / "far.tif", seeds.GREY * 1e300)
    commands.append("apply t.tfm far.tif --like good.tif -o far")
    outcomes = said(commands, tmp_path)
    assert len(outcomes) == len(commands)
    for (code, words), command in zip(outcomes, commands, strict=True):
        assert code in (0, 2), command
        assert all(line.startswith("correlight: ") for line in words.splitlines()), (command, words)
        assert code == 0 or words.count("\n") == 1, (command, words)
    assert {code for code, _ in outcomes} == {0, 2}
