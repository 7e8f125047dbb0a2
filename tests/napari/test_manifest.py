"""What napari is told of the plug-in is true."""

from pathlib import Path

import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
npe2 = pytest.importorskip("npe2")

MANIFEST = Path(__file__).resolve().parents[2] / "src" / "correlight" / "napari" / "napari.yaml"


def test_the_manifest_is_valid_and_every_command_is_there() -> None:
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "correlight"


def test_the_installed_plugin_is_found_with_its_menus() -> None:
    manifest = npe2.PluginManifest.from_distribution("correlight")
    menus = manifest.contributions.menus
    assert {"napari/layers/register", "napari/layers/transform"} <= set(menus)
    commands = {command.id for command in manifest.contributions.commands}
    assert {item.command for items in menus.values() for item in items} <= commands
