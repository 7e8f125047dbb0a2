"""Sound files at the limits of size, pixel size and type, and every option at its limits: a result or one sentence."""

import math
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight import cli
from correlight.exchange import write_transform
from correlight.transforms import Affine

DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "complex64",
)  # fmt: skip
NUMBERS = ("0", "-0", "1", "-1", "1e-6", "9.99e-7", "1e5", "100001", "1e-300", "1e300", "1e400", "nan", "inf", "-inf")
WORDS = ("", " ", "none", "fixed", "\u00b5m", "\x1b[31m", "1,2", "1;2", "0x10", "1_000", "9" * 40, "True", "..", "--")
COUNTS = ("0", "1", "-1", "7", "2147483648", "99999999999999999999", "1.5", "nan", "")
RANGES = (
    "0..0", "-360..360", "-361..0", "360..360", "-0.001..0.001", "90..-90", "nan..1", "-inf..inf", "-1e308..1e308", "1",
    "..", "1..", "..1", "1...2", "1..2..3", "0.001..1000", "1000..1000", "1e-300..1e300", "100..200", "0.9..1.1",
)  # fmt: skip
BOXES = ("0,32,0,32", "0,1,0,1", "0,0,0,0", "5,4,0,9", "-1,9,0,9", "0,999999999,0,999999999", "1,2,3", "a,b,c,d")
PLACES = ("0,0", "1e300,1", "nan,0", "1,2,3", "1,2,3,4", "-5,5", "")
PARTS = {"scene": WORDS + COUNTS, "series": COUNTS, "time": COUNTS, "view": (*WORDS, "V=1,H=0", "0")}
OF_PARTS = {f"--{role}{part}": values for role in ("", "fixed-", "moving-") for part, values in PARTS.items()}
SPACINGS = {f"--{role}-spacing": NUMBERS for role in ("fixed", "moving")}
FORMATS = ("itk", "elastix", "matrix", "napari", "trakem2", "ecclem", "bdv", "mobie", "ngff", "bigwarp", "table", "")
MODELS = ("rigid", "similarity", "affine", "projective", "elastic", "thin-plate", "spline", "")
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "register": {
        **OF_PARTS,
        "--fixed-spacing": (*NUMBERS, *PLACES),
        "--moving-spacing": (*NUMBERS, *PLACES),
        "--recipe": (
            "auto",
            "classical",
            "mutual-information",
            "point-clouds",
            "fiducials",
            "none.toml",
            "",
            "/",
            "\x07",
        ),
        "--model": MODELS,
        "--fixed-channel": COUNTS + WORDS,
        "--moving-channel": COUNTS + WORDS,
        "--fixed-mask": ("fixed.tif", "moving.tif", "none.tif", "."),
        "--moving-mask": ("fixed.tif", "moving.tif", "", "pairs.csv"),
        "--roi": BOXES,
        "--start": ("t.tfm", "pairs.csv", "points.csv", "fixed.tif", ".", ""),
        "--landmarks": ("pairs.csv", "points.csv", "t.tfm", ".", ""),
        "--rotation": RANGES,
        "--scale": RANGES,
        "--stretch": RANGES,
        "--mirror": ("",),
        "--no-mirror": ("",),
        "--pose": COUNTS,
        "--predictor": ("none", "fixed.tif", ".", ""),
        "--grid": (*NUMBERS, *WORDS, "moving", "0.01"),
        "--seed": COUNTS,
        "--fail-on": ("doubtful", "refused", "never", "sometimes", ""),
        "--exit-zero": ("",),
        "--crate": ("",),
        "--composite": ("",),
    },
    "apply": {
        **OF_PARTS,
        **SPACINGS,
        "--order": ("linear", "nearest", "cubic", ""),
        "--labels": ("",),
        "--points-in": ("moving", "fixed", "both"),
        "--stage-axes": ("right-down", "left-up", "up"),
        "--composite": ("",),
        "--fail-on": ("doubtful", "refused", "never", "sometimes", ""),
        "--exit-zero": ("",),
    },
    "landmarks": {
        **OF_PARTS,
        **SPACINGS,
        "--model": MODELS,
        "--error": NUMBERS,
        "--noise": ("isotropic", "anisotropic", "none"),
        "--without": ("p0", "p0,p1", "", ",", "nobody", ",".join(f"p{number}" for number in range(12))),
        "--grid": (*NUMBERS, *WORDS, "moving", "0.01"),
    },
    "convert": {
        **OF_PARTS,
        "--from": (*FORMATS, "none"),
        "--to": (
            "itk",
            "elastix",
            "matrix",
            "napari",
            "trakem2",
            "ecclem",
            "bdv",
            "mobie",
            "ngff",
            "bigwarp",
            "table",
            "",
        ),
        "--fixed": ("fixed.tif", "none.tif", "pairs.csv", "."),
        "--moving": ("moving.tif", "none.tif", ""),
        "--fixed-spacing": (*NUMBERS, *PLACES),
        "--moving-spacing": (*NUMBERS, *PLACES),
        "--fixed-origin": PLACES,
        "--moving-origin": PLACES,
        "--landmarks": COUNTS,
        "--model": MODELS,
        "--name": WORDS,
        "--into": ("t.tfm", "none.xml", "fixed.tif"),
        "--dimensions": ("2", "3", "4", "nan"),
        "--unit": ("micrometre", "pixel", "inch"),
    },
    "pair": {
        **OF_PARTS,
        **SPACINGS,
        "--ratio": NUMBERS,
        "--fixed-channel": COUNTS,
        "--moving-channel": COUNTS,
        "--match": ("edges", "zero-mean", "plain", ""),
        "--padding": ("grey", "edge", "masked", ""),
        "--rotation": RANGES,
        "--seed": COUNTS,
    },
    "features": {
        **{f"--{part}": values for part, values in PARTS.items()},
        "--channel": COUNTS,
        "--at": NUMBERS,
        "--spacing": NUMBERS,
    },
}
# What a run takes at most: bytes, and seconds on a machine that is busy with other things.
BYTES, BYTES_PER_PIXEL = 1.5e9, 60.0
SECONDS, SECONDS_PER_PIXEL = 240.0, 1e-5


@dataclass(frozen=True)
class Case:
    """A call of the program.

    Parameters
    ----------
    words : tuple of str
        Its arguments.
    pixels : int
        Of both images together.
    """

    words: tuple[str, ...]
    pixels: int


def pixels(rng: np.random.Generator, shape: tuple[int, int], dtype: str) -> NDArray[np.generic]:
    """An image of a type: rough, in steps, blank, noise, or at the limits of what numbers there are."""
    kind, grain = rng.integers(6), int(rng.integers(2, 9))
    coarse = rng.random(tuple(-(-length // grain) + 1 for length in shape))
    rough = np.kron(coarse, np.ones((grain, grain)))[: shape[0], : shape[1]]
    made = {0: rough, 1: rough, 2: np.round(3 * rough), 3: np.zeros(shape), 4: rng.random(shape), 5: rough}[int(kind)]
    target = np.dtype(dtype)
    if target.kind in "ui":
        about = np.iinfo(target)
        span = float(about.max) - float(about.min) if kind == 5 else min(4000.0, float(about.max))
        low = float(about.min) if kind == 5 else 0.0
        return np.asarray(
            np.clip(low + 0.999 * span * made / max(1.0, made.max()), about.min, about.max * 0.999), target
        )
    if target.kind == "f" and kind == 5:
        made = made * float(np.finfo(target).max) * 0.99
        made[: shape[0] // 5] = rng.choice([np.nan, np.inf, -np.inf])
    return np.asarray(made > 0.5 if target.kind == "b" else made, target)


def shape(rng: np.random.Generator, most: int) -> tuple[int, int]:
    """Sides from 32 to 20,000 pixels, up to 600 times as long as wide, of at most so many pixels."""
    short = math.exp(rng.uniform(math.log(32), math.log(max(33, math.sqrt(most)))))
    long = min(
        short * math.exp(rng.uniform(0, math.log(600)) ** (1 if rng.random() < 0.5 else 0.3)), 20_000, most / short
    )
    sides = max(32, int(short)), max(32, int(long))
    return sides if rng.random() < 0.5 else sides[::-1]


def case(rng: np.random.Generator, home: Path, most: int, commands: tuple[str, ...] = tuple(OPTIONS)) -> Case:
    """Write the files of a call into a folder, and say how the program is called.

    Parameters
    ----------
    rng : Generator
        Chooses everything.
    home : Path
        A folder.
    most : int
        Pixels of an image at most.
    commands : tuple of str
        Which of the commands to call.
    """
    total = 0
    for role in ("fixed", "moving"):
        sides, dtype = shape(rng, most), DTYPES[rng.integers(len(DTYPES))] if rng.random() < 0.4 else "uint16"
        total += sides[0] * sides[1]
        made = pixels(rng, sides, dtype)
        spacing = math.exp(rng.uniform(math.log(1e-6), math.log(1e5)))
        aspect = rng.choice([1.0, 1.0, 1.0, 1e-3, 30.0])
        size = {"PhysicalSizeY": spacing, "PhysicalSizeX": min(max(spacing * aspect, 1e-6), 1e5)}
        plain = rng.random() < 0.4 or dtype in ("bool", "float16", "uint64", "int64")
        tifffile.imwrite(home / f"{role}.tif", made, ome=not plain, metadata=None if plain else {"axes": "YX", **size})
    write_transform(home / "t.tfm", Affine.similarity(float(rng.uniform(-180, 180)), float(math.exp(rng.normal()))))
    count = int(rng.choice([1, 2, 3, 4, 12]))
    places = rng.uniform(0, 32, (count, 4))
    if rng.random() < 0.3:
        places[:, rng.integers(4)] = rng.choice([5.0, 1e12, 1e-12, -1e14])
    unit = rng.choice(["pixel", "micrometre"])
    rows = "".join(f"p{n},{','.join(map(repr, map(float, row)))},{unit}\n" for n, row in enumerate(places))
    (home / "pairs.csv").write_text(f"name,fixed_y,fixed_x,moving_y,moving_x,unit\n{rows}")
    rows = "".join(f"p{n},{unit},{float(row[0])!r},{float(row[1])!r}\n" for n, row in enumerate(places))
    (home / "points.csv").write_text(f"name,unit,y,x\n{rows}")
    command = str(rng.choice(commands))
    both = ["--fixed", "fixed.tif", "--moving", "moving.tif"]
    words = {
        "register": ["fixed.tif", "moving.tif", "-o", "out"],
        "pair": ["fixed.tif", "moving.tif", "-o", "out"],
        "landmarks": ["pairs.csv", *both, "-o", "out"],
        "features": ["fixed.tif", "-o", "out.tif"],
        "convert": [
            str(rng.choice(["t.tfm", "pairs.csv", "points.csv"])),
            str(rng.choice(["out.json", "out.csv", "out.h5"])),
        ],
        "apply": ["t.tfm", "moving.tif", "--like", "fixed.tif", "-o", "out"]
        if rng.random() < 0.6
        else ["t.tfm", "points.csv", "--like", "fixed.tif", "-o", "out.csv"],
    }[command]
    chosen = rng.permutation(sorted(OPTIONS[command]))[: int(rng.integers(0, 4))]
    for option in map(str, chosen):
        values = OPTIONS[command][option]
        value = str(values[rng.integers(len(values))])
        words += [option] if values == ("",) else [option, value]
    return Case((command, *words), total)


def wrong(code: int, said: str, home: Path) -> list[str]:
    """What a run must not end with; nothing if all is well."""
    lines, found = said.splitlines(), []
    if code not in (0, 2, 3):
        found.append(f"exit code {code}")
    if any(not line.startswith("correlight: ") for line in lines):
        found.append("something else was said")
    if code == 2 and (len(lines) != 1 or len(said) > 2000):
        found.append(f"{len(lines)} lines instead of one sentence")
    left = sorted(path.name for path in home.iterdir() if path.name.startswith((".", "out")))
    if code == 2 and left:
        found.append(f"left: {', '.join(left)}")
    if code in (0, 3) and (not left or any(name.startswith(".") for name in left)):
        found.append(f"left: {', '.join(left) or 'nothing'}")
    return found


@dataclass
class Report:
    """What became of the calls.

    Parameters
    ----------
    counts : Counter
        How many ended with which code, by command.
    faults : list of str
        What was wrong, with the number of the call.
    most_bytes : float
        The most memory, and how much per pixel beyond `BYTES` any took.
    most_seconds : float
        The longest time.
    """

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    most_bytes: float = 0.0
    most_seconds: float = 0.0


def run(minutes: float, seed: int, work: Path, most: int = 40_000_000, said: Callable[[str], object] = print) -> Report:
    """Call the program for some time, each time in a process of its own with limits."""
    report, end, number = Report(), time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        home = work / str(number)
        home.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        # Most images are small, so that many calls are made.
        one = case(rng, home, int(math.exp(rng.uniform(math.log(2_000), math.log(most)))))
        code, words, used, seconds = _called(one, home)
        found = wrong(code, words, home)
        if used > BYTES + BYTES_PER_PIXEL * one.pixels:
            found.append(f"{used / 1e9:.1f} GB for {one.pixels / 1e6:.1f} million pixels")
        if seconds > SECONDS + SECONDS_PER_PIXEL * one.pixels:
            found.append(f"{seconds:.0f} s for {one.pixels / 1e6:.1f} million pixels")
        report.counts[one.words[0], code] += 1
        report.most_bytes = max(report.most_bytes, used)
        report.most_seconds = max(report.most_seconds, seconds)
        for what in found:
            report.faults.append(f"seed {seed}, number {number}, {one.words}: {what}: {words[-300:]!r}")
            said(report.faults[-1])
        for path in sorted(home.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        home.rmdir()
        number += 1
    return report


def _called(one: Case, home: Path) -> tuple[int, str, float, float]:
    """Exit code, what was said, bytes of memory and seconds of a call."""
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        code = 70
        try:
            os.chdir(home)
            os.dup2(os.open(home.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            patience = int(SECONDS + SECONDS_PER_PIXEL * one.pixels) + 60
            resource.setrlimit(resource.RLIMIT_CPU, (patience, patience))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            sys.argv = ["correlight", *one.words]
            code = cli.main()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    words = home.with_suffix(".said").read_text(errors="replace")
    home.with_suffix(".said").unlink()
    return os.waitstatus_to_exitcode(status), words, usage.ru_maxrss * 1024.0, time.monotonic() - began
