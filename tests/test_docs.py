"""What README, guide and CONTRIBUTING name is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/coming_from.md", "data/README.md")
TOP = ("reidlab", "tests", "notebooks", "docs", "benchmarks")  # folders of the repository that no user fills
PATH = re.compile(rf"(?:{'|'.join(TOP)})/[\w./*-]*")
MODULE = re.compile(r"reidlab(?:\.[A-Za-z_]\w*)+")
LINK = re.compile(r"\]\(([^)#:]+)\)|^\[[^]]+\]: (\S+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def named(document: str) -> set[str]:
    """Return what stands in backticks, code blocks left out."""
    return set(re.findall(r"`([^`\n]+)`", FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))))


def missing_paths(names: set[str]) -> list[str]:
    paths = sorted(name for name in names if PATH.fullmatch(name) and "NN_" not in name)
    return [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]


def is_there(dotted: str) -> bool:
    """Return whether a dotted name can be imported, as a module or as an attribute of one."""
    try:
        importlib.import_module(dotted)
        return True
    except ImportError:
        module, _, attribute = dotted.rpartition(".")
        try:
            return hasattr(importlib.import_module(module), attribute)
        except ImportError:
            return False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_links_exist(document: str) -> None:
    assert missing_paths(named(document)) == []
    text = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    links = ["".join(found) for found in LINK.findall(text)]
    assert [link for link in links if not ((ROOT / document).parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document: str) -> None:
    dotted = {name for name in named(document) if MODULE.fullmatch(name) and not name.endswith(".yaml")}
    assert [name for name in sorted(dotted) if not is_there(name)] == []


def test_what_is_gone_is_found() -> None:
    assert missing_paths({"reidlab/params.py", "reidlab/store", "tests/test_*.py", "a b"}) == ["reidlab/params.py"]
    assert not is_there("reidlab.nothing") and not is_there("reidlab.errors.Nothing") and is_there("reidlab.ids")


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md"])
def test_lines_are_short(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []
