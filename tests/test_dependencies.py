"""What is declared is used, or stands on the user's list of packages with the notebook or room that will use it."""

from __future__ import annotations

from packaging.requirements import Requirement
from test_packaging import IMPORT_NAMES, imported, project

# the user's card names these packages; each with what runs on it today, or the room that is to come
WITHOUT_AN_IMPORT = {
    "jupyterlab": "the card; `make lab`",
    "ipykernel": "the kernel that runs the notebooks",
    "nbclient": "papermill's engine, whose floor matters",
}


def test_what_is_declared_is_used() -> None:
    used = imported()
    declared = [Requirement(text).name for text in project()["dependencies"]]
    idle = {name for name in declared if IMPORT_NAMES.get(name, name.replace("-", "_")) not in used}
    assert idle <= set(WITHOUT_AN_IMPORT), f"declared but never imported: {sorted(idle - set(WITHOUT_AN_IMPORT))}"
    assert set(WITHOUT_AN_IMPORT) <= idle, f"imported by now: {sorted(set(WITHOUT_AN_IMPORT) - idle)}"
