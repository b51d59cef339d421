"""What the tests of muP share: small models of other people's making."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(beside):
    return beside(Path(__file__).with_name("models.py"))
