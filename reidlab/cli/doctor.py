"""What a machine needs to run the workbook, checked line by line; nothing is changed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reidlab.errors import UserError
from reidlab.failures import check_open_files, explained, open_files
from reidlab.paths import data_root, reports_root, root

__all__ = ["Check", "examine"]

PYTHONS = ((3, 11), (3, 12), (3, 13))
SPACE_GB = (2, 10)  # below the first a training cannot be kept, below the second it gets narrow
INSTALL = "Run `make env`, or `pip install -c constraints.txt -e '.[dev]'`."


class Check(NamedTuple):
    """One line of the examination."""

    what: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine() -> Iterator[Check]:
    """Check everything; a check that breaks is a failed check, and the next ones are still made."""
    parts: list[Callable[[], Iterator[Check]]] = [_python, _packages, _devices, _kernel, _files, _folders, _data]
    for part in parts:
        try:
            yield from part()
        except Exception as error:
            refused = "" if isinstance(error, UserError) else explained(error)
            remedy = "This should not happen: please report it." if refused is None else refused
            yield Check(part.__name__.strip("_"), "fail", f"{type(error).__name__}: {error}", remedy)


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        yield Check("python", "ok", found)
    else:
        wanted = " or ".join(".".join(map(str, v)) for v in PYTHONS)
        yield Check("python", "fail", found, f"Python {wanted} is needed: PYTHON=python3.12 make env.")


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    required = [Requirement(text) for text in importlib.metadata.requires("reidlab") or []]
    missing, old, count = [], [], 0
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            old.append(f"{requirement.name} {version} (wanted {requirement.specifier})")
    if missing or old:
        yield Check("packages", "fail", ", ".join([*(f"{name} missing" for name in missing), *old]), INSTALL)
    else:
        yield Check("packages", "ok", f"all {count} that reidlab needs")
    try:
        import torch

        _match_torchvision(torch)
        yield Check("torch", "ok", f"{torch.__version__}, torchvision {importlib.metadata.version('torchvision')}")
    except Exception as error:
        remedy = "torch and torchvision must be installed together from one index: `make clean-env env`."
        yield Check("torch", "fail", f"{type(error).__name__}: {error}", explained(error) or remedy)


def _match_torchvision(torch: Any) -> None:
    """Load torchvision's operators, which a torch of another build refuses; its Python half takes seconds to import."""
    found = importlib.util.find_spec("torchvision")
    places = found.submodule_search_locations if found is not None else None
    libraries = [file for place in places or () for file in Path(place).glob("_C*") if file.suffix in (".so", ".pyd")]
    if not libraries:
        import torchvision  # noqa: F401  # a build of another kind

        return
    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError as error:  # a symbol that is missing; nothing that the machine refuses
        raise RuntimeError(str(error)) from error
    theirs, ours = torch.ops.torchvision._cuda_version(), torch.version.cuda
    if theirs != -1 and ours is not None and str(theirs // 1000) != ours.partition(".")[0]:
        raise RuntimeError(f"torch is built with CUDA {ours}, torchvision with CUDA {theirs // 1000}")


def _devices() -> Iterator[Check]:
    import torch

    from reidlab.devices import bfloat16_is_fast, describe_device, plan

    for name in ("cuda", "mps", "cpu"):
        try:
            compute = plan(name)
        except UserError:
            continue
        fast = "bfloat16 in hardware" if bfloat16_is_fast(compute.device) else "bfloat16 is emulated, so not used"
        yield Check("device", "ok", f"{describe_device(compute)}; {fast}")
    chosen = plan("auto").device.type
    remedy = "" if chosen != "cpu" else "Fine for the demo; training on a public data set needs a GPU."
    yield Check(
        "auto device", "ok" if chosen != "cpu" else "warn", f"{chosen}, {torch.get_num_threads()} threads", remedy
    )


def _kernel() -> Iterator[Check]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    remedy = "`python -m ipykernel install --sys-prefix --name python3`, with this environment's python."
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield Check("kernel", "fail", "no kernel python3", remedy)
        return
    ours = shutil.which(command) or command
    same = command in ("python", "python3") or Path(ours).parent == Path(sys.executable).parent
    found = "python3, in this environment" if same else "python3 belongs to another environment"
    yield Check("kernel", "ok" if same else "warn", found, "" if same else remedy)


def _files() -> Iterator[Check]:
    allowed = open_files()
    try:
        check_open_files()
        yield Check("open files", "ok", "not limited" if allowed is None else f"{allowed:,} at once")
    except UserError as error:
        yield Check("open files", "fail", f"{allowed} at once", str(error))


def _folders() -> Iterator[Check]:
    yield Check("workbook", "ok", str(root()))
    for name, folder, variable in (
        ("reports", reports_root(), "REIDLAB_REPORTS"),
        ("data", data_root(), "REIDLAB_DATA"),
    ):
        there = next(p for p in [folder, *folder.parents] if p.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
            yield Check(f"{name} folder", "ok", f"{folder} can be written")
        except OSError as error:
            yield Check(f"{name} folder", "fail", f"{folder}: {error.strerror}", f"Make it writable or set {variable}.")
    there = next(p for p in [reports_root(), *reports_root().parents] if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    state: Literal["ok", "warn", "fail"] = "fail" if free < SPACE_GB[0] else "warn" if free < SPACE_GB[1] else "ok"
    remedy = "" if state == "ok" else "`reidlab runs gc --stale` frees space; REIDLAB_REPORTS moves the runs."
    yield Check("disk", state, f"{free:.0f} GB free for runs", remedy)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0
    yield Check("memory", "warn" if memory and memory < 4 else "ok", f"{memory:.0f} GB, {os.cpu_count()} cores")


def _data() -> Iterator[Check]:
    from reidlab.registry import DATASETS

    folders = {entry.name: entry.facts.get("folder") or "" for entry in DATASETS.values()}
    public = [name for name, folder in folders.items() if folder.startswith("raw/")]
    there = [name for name in public if any((data_root() / folders[name]).glob("*"))]
    absent = [name for name in public if name not in there]
    yield Check("data sets", "ok", f"found: pedestrians (built in){''.join(', ' + name for name in there)}")
    if absent:
        remedy = "data/README.md says how to get them. The demo needs none."
        yield Check("data sets", "ok", f"not there: {', '.join(absent)}", remedy)
