"""Programs of others that live in environments of their own, as they bring more than the tests of this package need."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Elsewhere = Callable[[str, dict[str, Any]], Any]


def elsewhere(module: str, variable: str) -> Elsewhere:
    """A function that runs a script with ``given`` (JSON) in a Python that has a module, and returns what it prints."""
    python = os.environ.get(variable, sys.executable)
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode != 0:
        pytest.skip(f"{module} is not installed here; install it anywhere and set {variable} to the Python that has it")

    def run(script: str, given: dict[str, Any]) -> Any:
        head = f"import json, sys\ngiven = json.loads({json.dumps(json.dumps(given))})\n"
        done = subprocess.run([python, "-c", head + script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def with_elastix() -> Elsewhere:
    """Run a script where itk-elastix is."""
    return elsewhere("itk", "CORRELIGHT_ELASTIX_PYTHON")


@pytest.fixture(scope="session")
def with_ngff_zarr() -> Elsewhere:
    """Run a script where ngff-zarr is."""
    return elsewhere("ngff_zarr", "CORRELIGHT_NGFF_PYTHON")


@pytest.fixture(scope="session")
def with_ome_zarr() -> Elsewhere:
    """Run a script where ome-zarr is."""
    return elsewhere("ome_zarr", "CORRELIGHT_OME_ZARR_PYTHON")
