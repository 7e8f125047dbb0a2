"""A described result is an RO-Crate: its library reads it back, its validator finds nothing against the profile."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import correlight
from correlight import cli
from correlight.output.crate import NAME, write_crate
from tests.batch.rows import HASTY, NARROW, run, write_couple, write_rows

pytest.importorskip("rocrate", reason="descriptions take the extra crate")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A described result, and a described batch of an accepted, a refused and a failed row."""
    home = tmp_path_factory.mktemp("described")
    for number in range(2):
        write_couple(home, f"{number} EM.tif", f"{number}_LM.tif", number)
    options = [word for name, text in NARROW.items() if name not in ("mirror", "grid") for word in (f"--{name}", text)]
    files = [str(home / name) for name in ("0 EM.tif", "0_LM.tif")]
    assert cli.main(["register", *files, "-o", str(home / "one"), "--no-mirror", "--crate", *options]) == 0
    rows = [
        {"name": "good", "fixed": "0 EM.tif", "moving": "0_LM.tif", **NARROW},
        {"name": "none <&", "fixed": "1 EM.tif", "moving": "1_LM.tif", **HASTY},
        {"name": "gone", "fixed": "2 EM.tif", "moving": "1_LM.tif", **HASTY},
    ]
    write_rows(home / "t.csv", rows)
    write_rows(home / "other.csv", [dict(reversed(row.items())) for row in reversed(rows)])
    done = run("t.csv", "-o", "many", "--workers", "1", "--crate", "--exit-zero", home=home)
    assert done.returncode == 0, done.stderr
    return home


def read_back(folder: Path) -> Any:
    from rocrate.rocrate import ROCrate

    return ROCrate(folder)


def actions(crate: Any) -> dict[str, Any]:
    return {entity.id: entity for entity in crate.contextual_entities if entity.type == "CreateAction"}


def test_a_result_names_inputs_options_outputs_and_software(home: Path) -> None:
    crate = read_back(home / "one")
    assert crate.name == "Registration of 0_LM.tif to 0 EM.tif"
    assert crate.root_dataset["conformsTo"].id.endswith("wfrun/process/0.5")
    (action,) = actions(crate).values()
    assert (action["instrument"]["name"], action["instrument"]["version"]) == ("correlight", correlight.__version__)
    assert "numpy" in {one["name"] for one in action["instrument"]["softwareRequirements"]}
    inputs = [entity for entity in action["object"] if entity.type == "File"]
    assert {entity["alternateName"]: entity["sha256"] for entity in inputs} == {
        str(home / name): hashlib.sha256((home / name).read_bytes()).hexdigest() for name in ("0 EM.tif", "0_LM.tif")
    }
    options = {entity["name"]: entity["value"] for entity in action["object"] if entity.type == "PropertyValue"}
    assert (options["rotation"], options["mirror"], options["model"]) == ("-0.5, 0.5", "false", "rigid")
    described = {entity.id for entity in action["result"]}
    assert described == {path.name for path in (home / "one").iterdir()} - {NAME, "manifest.json"}
    for entity in action["result"]:
        assert len(entity["description"]) > 10
        if "sha256" in entity:
            assert entity["sha256"] == hashlib.sha256((home / "one" / entity.id).read_bytes()).hexdigest()
    # Of what holds no times there is a checksum, and the manifest covers the description.
    assert {entity.id for entity in action["result"] if "sha256" not in entity} == {"result.json", "report.html"}
    assert NAME in json.loads((home / "one" / "manifest.json").read_text())["files"]


def test_a_batch_names_every_row_that_was_tried(home: Path) -> None:
    crate = read_back(home / "many")
    assert crate.root_dataset["description"] == "1 failed, 1 refused, 1 accepted."
    found = actions(crate)
    titles = {action["description"].partition(":")[0]: action for action in found.values()}
    assert titles.keys() == {"good", "none <&", "gone"}
    assert "2 EM.tif" in titles["gone"]["error"]
    assert titles["gone"]["actionStatus"].endswith("FailedActionStatus")
    assert {entity["name"] for entity in titles["good"]["object"] if entity.type == "File"} == {"0 EM.tif", "0_LM.tif"}
    for action in found.values():
        for entity in action["result"]:
            assert (home / "many" / entity.id).exists() or "%" in entity.id


def test_the_bytes_do_not_depend_on_order_or_on_how_often(home: Path) -> None:
    before = (home / "one" / NAME).read_bytes()
    write_crate(home / "one")
    assert (home / "one" / NAME).read_bytes() == before
    for part in ("2/2", "1/2"):
        assert run("other.csv", "-o", "parts", "--shard", part, "--exit-zero", home=home).returncode == 0
    assert run("--collect", "parts", "--crate", "--exit-zero", home=home).returncode == 0
    assert (home / "parts" / NAME).read_bytes() == (home / "many" / NAME).read_bytes()
    # One that is not asked for again would describe what is gone.
    assert run("--collect", "parts", "--exit-zero", home=home).returncode == 0
    assert not (home / "parts" / NAME).exists()


@pytest.mark.parametrize("what", ["one", "many"])
def test_the_validator_of_the_profile_finds_nothing(home: Path, what: str, tmp_path: Path) -> None:
    validator = shutil.which("rocrate-validator")
    if validator is None:
        pytest.skip("rocrate-validator is not installed (pip install roc-validator)")
    from rocrate.vocabs import RO_CRATE

    # The vocabulary that the file points to lies on the web; the same lies in the library.
    shutil.copytree(home / what, tmp_path / "crate")
    content = json.loads((tmp_path / "crate" / NAME).read_text(encoding="utf-8"))
    assert content["@context"] == "https://w3id.org/ro/crate/1.1/context"
    content["@context"] = RO_CRATE["@context"]
    (tmp_path / "crate" / NAME).write_text(json.dumps(content), encoding="utf-8")
    words = ["-y", "validate", "crate", "-p", "process-run-crate-0.5", "-l", "required", "--offline", "-f", "json"]
    # Both only fetch the vocabulary.
    words += ["--skip-availability-check", "-s", "ro-crate-1.1_3.1,ro-crate-1.1_3.2", "-o", "said.json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [validator, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    said = (tmp_path / "said.json").read_text() if (tmp_path / "said.json").exists() else done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert json.loads(said)["passed"] is True


def test_nothing_is_registered_where_no_library_could_describe_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rocrate", None)
    files = [str(home / name) for name in ("0 EM.tif", "0_LM.tif")]
    assert cli.main(["register", *files, "-o", str(home / "undescribed"), "--crate"]) == 2
    assert "extra crate" in capsys.readouterr().err
    assert not (home / "undescribed").exists()
