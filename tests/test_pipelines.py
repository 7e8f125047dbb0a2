"""The examples of pipelines run as they stand: the Snakemake rules by Snakemake, the Nextflow module by Nextflow.

Where there is no Nextflow, the commands of its module are run by a shell all the same, and what the module says of
itself is compared with what they write.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import correlight
from tests.batch.rows import HASTY, NARROW, environment, write_couple, write_rows

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = ROOT / "examples" / "pipelines"
MODULE = PIPELINES / "nextflow" / "modules" / "local" / "correlight" / "register"
# The command of the same environment as these tests comes first.
ENVIRONMENT = {**environment(), "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}


def tool(name: str, *check: str) -> str:
    """The path of a program; the test is skipped where it is not installed or does not run."""
    found = shutil.which(name, path=ENVIRONMENT["PATH"])
    if found is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([found, *check], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"{name} does not run here: {(done.stderr or done.stdout).strip()[-200:]}")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A table of a pair that is accepted and one that is refused, beside their files; names with blanks."""
    for number, name in enumerate(("one", "two")):
        write_couple(tmp_path / "in put", f"{name} EM.tif", f"{name}_LM.tif", number)
    rows = [
        {"name": name, "fixed": f"in put/{name} EM.tif", "moving": f"in put/{name}_LM.tif", **options}
        for name, options in (("one", NARROW), ("two", HASTY))
    ]
    write_rows(tmp_path / "pairs.csv", rows)
    return tmp_path


def executed(*words: str, home: Path, patience: float = 300.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """What comes of a command in a folder, within so many seconds."""
    return subprocess.run(
        words,
        cwd=home,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=patience,
    )


def verdicts(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["status"] for row in csv.DictReader(file)}


@pytest.mark.slow
def test_snakemake_registers_every_pair_of_a_table(home: Path) -> None:
    command = tool("snakemake", "--version"), "-s", str(PIPELINES / "snakemake" / "Snakefile"), "--cores", "1"
    done = executed(*command, home=home)
    assert done.returncode == 0, done.stderr
    assert verdicts(home / "registered" / "verdicts.csv") == {"one": "accepted", "two": "refused"}
    # The cells of the table were options of the command.
    assert json.loads((home / "registered" / "one" / "result.json").read_text())["asked"]["model"] == "rigid"
    # A pair whose image changed is registered again, and the other one is not.
    before = (home / "registered" / "one" / "result.json").stat().st_mtime_ns
    write_couple(home / "in put", "two EM.tif", "two_LM.tif", 7)
    done = executed(*command, home=home)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rule register:") == 1
    assert (home / "registered" / "one" / "result.json").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["-stub"]], ids=["for real", "stub"])
def test_nextflow_registers_every_pair_of_a_table(home: Path, words: list[str]) -> None:
    nextflow, flow = tool("nextflow", "-version"), str(PIPELINES / "nextflow" / "main.nf")
    done = executed(nextflow, "run", flow, "--table", "pairs.csv", *words, home=home, NXF_OFFLINE="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(home / "registered" / "verdicts.csv").keys() == {"one", "two"}
    assert (home / "registered" / "one" / "report.html").is_file()


def commands(kind: str, known: Mapping[str, str]) -> str:
    """What a shell is given by the part ``script`` or ``stub`` of the module."""
    part = (MODULE / "main.nf").read_text(encoding="utf-8").partition(f"    {kind}:\n")[2]
    text = textwrap.dedent(part.split('"""')[1])
    for name, value in known.items():
        text = re.sub(rf"\$(\{{{re.escape(name)}\}}|{re.escape(name)}\b)", value.replace("\\", r"\\"), text)
    assert not re.search(r"(?<!\\)\$", text), "a variable that this test does not know"
    return text.replace("\\\\", "\\").replace("\\$", "$")


def outputs() -> dict[str, tuple[str, bool]]:
    """The outputs of the module by name: the pattern, and whether it may be missing."""
    text = (MODULE / "main.nf").read_text(encoding="utf-8")
    found = re.findall(r'path\("?([^")]+)"?\)?\s*, emit: (\w+)(, optional: true)?', text.replace('path "', 'path("'))
    return {name: (pattern, bool(optional)) for pattern, name, optional in found}


def braces(pattern: str) -> list[str]:
    """The alternatives of a pattern such as ``a.{b,c}``."""
    found = re.fullmatch(r"(.*)\{([^}]*)\}(.*)", pattern)
    return [f"{found[1]}{one}{found[3]}" for one in found[2].split(",")] if found else [pattern]


@pytest.mark.parametrize("kind", ["script", "stub"])
def test_the_commands_of_the_nextflow_module_write_what_it_says(home: Path, kind: str) -> None:
    known = {
        "task.cpus": "1",
        "task.process": "CORRELIGHT_REGISTER",
        # As Nextflow writes the names of staged files: blanks are escaped.
        "fixed": r"in\ put/one\ EM.tif",
        "moving": r"in\ put/one_LM.tif",
        "prefix": "one",
        "args": " ".join(f"--{name}={value}" for name, value in NARROW.items() if name != "mirror") + " --no-mirror",
    }
    script = commands(kind, known)
    done = executed("bash", "-euo", "pipefail", "-c", script, home=home)
    assert done.returncode == 0, done.stderr
    assert (home / "versions.yml").read_text() == f'"CORRELIGHT_REGISTER":\n    correlight: {correlight.__version__}\n'
    declared = outputs()
    assert declared.keys() == {"result", "record", "transform", "registered", "report", "versions"}
    for name, (pattern, optional) in declared.items():
        found = [path for one in braces(pattern.replace("${prefix}", "one")) for path in home.glob(one)]
        # The options of this test leave the registered image out.
        assert len(found) == 1 or (not found and optional and kind == "script"), name
    assert json.loads((home / "one" / "result.json").read_text())["status"] == "accepted"


def test_the_nextflow_module_describes_what_it_takes_and_gives() -> None:
    yaml = pytest.importorskip("yaml")
    meta: dict[str, Any] = yaml.safe_load((MODULE / "meta.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "keywords", "tools", "input", "output", "authors", "maintainers"} == meta.keys()
    assert {
        name: entry[-1].keys() if isinstance(entry[-1], dict) else entry[0][-1].keys()
        for name, entry in meta["output"].items()
    } == {name: {pattern} for name, (pattern, _) in outputs().items()}
    assert [name for part in meta["input"][0] for name in part] == ["meta", "fixed", "moving"]
    environment = yaml.safe_load((MODULE / "environment.yml").read_text(encoding="utf-8"))
    assert {"pip": [f"correlight=={correlight.__version__}"]} in environment["dependencies"]


def test_recipe_and_images_are_of_this_version_and_need_what_the_package_needs() -> None:
    yaml, jinja2 = pytest.importorskip("yaml"), pytest.importorskip("jinja2")
    version = correlight.__version__
    text = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(jinja2.Template(text).render(PYTHON="python"))
    assert recipe["package"] == {"name": "correlight", "version": version}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Known by another name there, and by versions of two numbers.
    needed = [
        re.sub(r"opencv-python-headless>=(\d+\.\d+)[.\d]*", r"py-opencv>=\1", one) for one in project["dependencies"]
    ]
    assert sorted(one.replace(" ", "") for one in recipe["requirements"]["run"]) == sorted(
        [*needed, f"python{project['requires-python']}"]
    )
    (wheel,) = re.findall(r"\S+\.whl", recipe["build"]["script"])
    assert wheel == f"correlight-{version}-py3-none-any.whl"
    assert f'container "correlight:{version}"' in (MODULE / "main.nf").read_text(encoding="utf-8")
    assert f"-t correlight:{version} ." in (ROOT / "Dockerfile").read_text(encoding="utf-8")
