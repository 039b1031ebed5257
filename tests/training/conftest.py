"""The tiny data set, decoded once a session."""

from __future__ import annotations

import pytest
from training_cases import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return table and pixels: 8 train, 3 val, 2 test identities x 3 cameras x 4 images."""
    return make_world(tmp_path_factory.mktemp("world"))
