"""What several files of these tests look at."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def killed_trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders, by kind, in which trainings were killed."""
    from tests.learn.killed import AT, killed

    folder = tmp_path_factory.mktemp("killed")
    killed(folder, *AT)
    return folder
