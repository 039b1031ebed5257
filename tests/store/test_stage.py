from __future__ import annotations

import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab import space, store
from reidlab.errors import UserError
from reidlab.store import clearing, provenance, runs, sources, stages, syntax

BASE: dict[str, Any] = {"seed": 3, "device": "cpu", "rate": 0.5}


def write(folder: Path) -> dict[str, Any]:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "a.txt").write_text("hello")
    return {"mAP": 0.5}


def make(params: Mapping[str, Any] = BASE, **more: Any) -> store.Run:
    return store.stage("toy", more.pop("name", "one"), params=params, make=more.pop("maker", write), **more)


def broken(folder: Path) -> None:
    (folder / "half.txt").write_text("x")
    raise RuntimeError("no")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `toypack`: main imports middle relatively, middle imports leaf inside a function."""
    folder = tmp_path / "lib" / "toypack"
    (folder / "plugins").mkdir(parents=True)
    for name, text in {
        "__init__": "from toypack import unrelated",
        "unrelated": "def make(folder): return {}",
        "provider": "def make(folder): return {'provides': ['ab' * 32]}",
        "main": "from . import middle\nimport json\nRATE = 1.0  # fast\n\n\ndef make(folder):\n    '''Doc.'''\n    return {'v': RATE}\n",
        "middle": "def f():\n    from toypack.leaf import X\n    return X\n",
        "leaf": "X = 1\nNAMES = {'p': 'toypack.named:f'}\n",
        "named": "def f(): return 1\n",
        "registry": "from importlib import import_module\n\ndef get(n): return import_module(f'.{n}', __package__)\n",
        "plugins/__init__": "from importlib import import_module\n",
        "plugins/one": "P = 1",
        "uses_plugins": "from toypack.plugins import one\nimport toypack.plugins\n",
        "bad": "def f(:",
    }.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder.parent))
    syntax._folder.cache_clear()
    yield folder
    syntax._folder.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] == "toypack"]:
        sys.modules.pop(name)
        sources._loaded.pop(name, None)


# ---- making and finding


def test_made_once_then_found_with_a_full_manifest() -> None:
    first, second = make(), make()
    assert first.made and not second.made and first.path == second.path and first.digest == second.digest
    assert first.path.name == f"one-{first.digest[:12]}" and first.path.parent.name == "toy"
    assert first.file("deep/a.txt").read_text() == "hello" and second.result == {"mAP": 0.5}
    m = second.manifest
    assert m["params"] == BASE and m["seed"] == 3 and m["device"] == "cpu" and m["attempts"] == 1
    assert m["files"] == {"deep/a.txt": 5} and m["started"] <= m["finished"] and m["finished"].endswith("+00:00")
    assert len(m["code"]["digest"]) == 64 and m["code"]["names"] and m["machine"]["cores"] >= 1
    assert m["versions"]["torch"] and m["versions"]["python"] and m["peak_memory_mb"] > 1 and m["seconds"] >= 0
    assert set(m["git"]) == {"commit", "dirty"}
    assert sorted(p.name for p in first.path.parent.iterdir()) == [first.path.name]


def test_the_manifest_names_no_host_user_or_path() -> None:
    import getpass
    import socket

    text = (make().path / "manifest.json").read_text()
    assert socket.gethostname() not in text and str(Path.home()) + "/" not in text and "/tmp" not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_digest_covers_params_inputs_stage_and_not_the_label() -> None:
    first = make()
    assert make({**BASE, "seed": 4}).digest != first.digest
    assert make(inputs=[first]).digest != first.digest
    assert make(inputs=[first]).manifest["inputs"] == [first.digest]
    assert make(dict(reversed(BASE.items()))).path == first.path
    assert make(name="another label").path == first.path
    assert make({**BASE, "seed": 5}, name="my run/1").path.name.startswith("my-run-1-")


def test_plain_data_of_all_kinds() -> None:
    run = make({"a": (1, 2), "b": {"c": [None, True]}, "n": np.float32(0.5), "i": np.int64(3)})
    assert run.params == {"a": [1, 2], "b": {"c": [None, True]}, "n": 0.5, "i": 3}
    assert make({"a": [1, 2], "b": {"c": (None, True)}, "n": 0.5, "i": 3}).digest == run.digest
    assert make({"a": True}).digest != make({"a": 1}).digest != make({"a": 1.5}).digest


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": {"layers": [1, object()]}}, r"params\['model'\]\['layers'\]\[1\] is a object"),
        ({"names": {"a", "b"}}, r"params\['names'\] is a set"),
        ({"where": Path("x")}, r"params\['where'\] is a .*Path"),
        ({"x": float("nan")}, r"params\['x'\] is nan"),
        ({"x": {1: 2}}, r"params\['x'\] has the key 1"),
        ({"x": np.zeros(2)}, r"params\['x'\] is a ndarray"),
        ({"x": test_plain_data_of_all_kinds}, r"params\['x'\] is a function"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(params: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(params)
    assert not list(store.runs_root().glob("*/*"))


@given(
    st.dictionaries(st.text(min_size=1), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
)
def test_plain_copies_survive_json(params: dict[str, Any]) -> None:
    assert json.loads(json.dumps(stages._plain(params, "params"))) == params


def test_labels_keep_other_scripts_and_refuse_nothing_left() -> None:
    assert stages._label("行人 1") == "行人-1" and stages._label("../../etc") == "etc"
    with pytest.raises(UserError, match="cannot name a run"):
        stages._label("../..")


def test_result_may_hold_nan_and_must_be_plain() -> None:
    assert make(maker=lambda folder: {"x": float("nan")}).result == {"x": None}
    with pytest.raises(UserError, match=r"result\['x'\] is a object"):
        make({"a": 1}, maker=lambda folder: {"x": object()})
    assert make({"a": 2}, maker=lambda folder: None).result == {}


def test_reprs() -> None:
    run = make(
        maker=lambda folder: {"<b>": "<i>", "minutes": 0.23503, "groups": ["a", 0.5], "sampler_note": "", "n": 0}
    )
    html = run._repr_html_()
    assert "0.235<" in html and "a; 0.5" in html and "sampler_note" not in html and ">0<" in html
    assert "&lt;b&gt;" in html and "&lt;i&gt;" in html and run.path.name in html and "(found)" not in html
    assert re.search(r">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d", html)
    assert "manifest" not in repr(run)
    with pytest.raises(UserError, match=r"no file 'nothing'. There are: manifest.json"):
        run.file("nothing")


# ---- failing and damaged


def test_a_failing_maker_leaves_nothing_unless_resumable() -> None:
    with pytest.raises(RuntimeError, match="no"):
        make(maker=broken)
    assert not list(store.runs_root().glob("toy/*"))
    with pytest.raises(RuntimeError) as caught:
        make(maker=broken, resumable=True)
    (work,) = store.runs_root().glob("toy/*")
    assert work.name.startswith(".work-") and work.name in caught.value.__notes__[0]
    assert store.list_runs() == []


def test_a_resumed_maker_sees_its_work_and_time_adds_up() -> None:
    attempts: list[list[str]] = []

    def train(folder: Path) -> dict[str, Any]:
        attempts.append(sorted(p.name for p in folder.glob("*.ckpt")))
        (folder / f"{len(attempts)}.ckpt").write_text("x")
        time.sleep(0.05)
        (folder / "log").write_text("x")
        if len(attempts) < 3:
            raise KeyboardInterrupt
        return {}

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make(maker=train, resumable=True)
    run = make(maker=train, resumable=True)
    assert attempts == [[], ["1.ckpt"], ["1.ckpt", "2.ckpt"]]
    assert run.manifest["attempts"] == 3 and run.seconds >= 0.15 and not (run.path / ".progress.json").exists()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda p: (p / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda p: (p / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda p: (p / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda p: (p / "deep" / "a.txt").write_text("hell"), "4 bytes instead of 5"),
        (lambda p: (p / "deep" / "a.txt").unlink(), "deep/a.txt is missing"),
    ],
)
def test_damage_is_named_with_its_remedy(harm: Any, words: str) -> None:
    run = make()
    harm(run.path)
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert f"reidlab runs rm toy/{run.path.name}" in str(caught.value)
    (listed,) = store.list_runs()
    assert words.split()[-1] in listed.problem
    store.remove_run(f"toy/{run.path.name}")
    assert make().made


def test_another_manifest_version_is_refused() -> None:
    run = make()
    (run.path / "manifest.json").write_text(json.dumps({**run.manifest, "schema": 99}))
    with pytest.raises(UserError, match="manifest version 99"):
        make()


def test_a_full_disk_says_what_to_do() -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))

    with pytest.raises(UserError, match=r"full.*runs gc.*REIDLAB_REPORTS"):
        make(maker=fill)


def test_a_stage_begins_only_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    found = make()
    monkeypatch.setattr(space, "free_bytes", lambda folder: space.RESERVE - 1)
    assert make().path == found.path  # what is there takes no room
    with pytest.raises(UserError, match=r"A run of stage 'toy' needs .* are free .*runs gc"):
        make(params={"x": 2})
    assert [path.name for path in found.path.parent.iterdir()] == [found.path.name]


def test_a_disk_that_fills_before_the_maker_begins_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(UserError, match="full"):
            make()
    assert list((store.runs_root() / "toy").iterdir()) == []


def test_another_disk_that_is_full_is_named() -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file")

    with pytest.raises(UserError, match="The disk that holds /elsewhere/file is full"):
        make(maker=fill)


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"is a file.*REIDLAB_REPORTS"):
        make()


def test_the_makers_own_file_errors_pass_through() -> None:
    def read(folder: Path) -> None:
        Path("/nonexistent/input").read_text()

    with pytest.raises(FileNotFoundError):
        make(maker=read)


# ---- code


def test_constants_count_comments_do_not(package: Path) -> None:
    def digest() -> str:
        return sources.code_digest(["toypack.main"])

    first = digest()
    text = (package / "main.py").read_text()
    (package / "main.py").write_text(
        text.replace("# fast", "# slow  indeed").replace("'''Doc.'''", "'''Other.'''") + "\n\n"
    )
    assert digest() == first
    (package / "main.py").write_text(text.replace("1.0", "2.0"))
    assert digest() != first
    (package / "main.py").write_text(text)
    assert digest() == first


@pytest.mark.parametrize("name", ["middle", "leaf", "named"])
def test_transitive_imports_count(package: Path, name: str) -> None:
    first = sources.code_digest(["toypack.main"])
    file = package / f"{name}.py"
    file.write_text(file.read_text() + "\nNEW = 1\n")
    assert sources.code_digest(["toypack.main"]) != first


def test_what_is_not_imported_does_not_count(package: Path) -> None:
    assert sources.reachable(["toypack.main"])[0] == {f"toypack.{n}" for n in ("main", "middle", "leaf", "named")}
    assert sources.reachable(["toypack.uses_plugins"])[0] >= {"toypack.plugins", "toypack.plugins.one", "toypack"}


def test_re_exported_names_lead_to_their_home_only(package: Path) -> None:
    (package / "plugins" / "__init__.py").write_text(
        "from .one import P\nfrom toypack.leaf import X\nimport toypack.bad\n"
    )
    (package / "user.py").write_text("from toypack.plugins import P\n")
    assert sources.reachable(["toypack.user"])[0] == {"toypack.user", "toypack.plugins.one"}
    (package / "star.py").write_text("from toypack.plugins import *\n")
    (package / "bad.py").write_text("")
    assert {"toypack.plugins", "toypack.leaf", "toypack.bad"} <= sources.reachable(["toypack.star"])[0]


def test_modules_that_import_by_name_count_with_their_package(package: Path) -> None:
    (package / "bad.py").unlink()
    assert {"toypack.registry", "toypack.leaf", "toypack.plugins.one"} <= sources.reachable(["toypack.registry"])[0]


def test_code_that_is_missing_or_broken_is_named(package: Path) -> None:
    with pytest.raises(UserError, match=r"toypack\.nothing"):
        sources.code_digest(["toypack.nothing"])
    with pytest.raises(UserError, match=r"bad\.py, line 1: the code does not parse"):
        sources.code_digest(["toypack.bad"])


def test_modules_functions_and_names_mean_the_same(package: Path) -> None:
    module = importlib.import_module("toypack.main")
    digests = {sources.code_digest([code]) for code in ("toypack.main", module, module.make)}
    assert len(digests) == 1


def test_changed_code_makes_a_new_result(package: Path) -> None:
    def run() -> store.Run:
        for name in [n for n in sys.modules if n.startswith("toypack")]:
            sys.modules.pop(name)
        importlib.invalidate_caches()
        return make({}, maker=importlib.import_module("toypack.main").make)

    assert run().result == {"v": 1.0}
    text = (package / "main.py").read_text()
    (package / "main.py").write_text(text.replace("1.0", "22.0"))
    new = run()
    assert new.made and new.result == {"v": 22.0}
    assert not run().made
    assert [len(store.gc(stale=True, dry_run=True)), len(store.list_runs())] == [1, 2]


def test_code_edited_after_loading_is_refused_until_reloaded(package: Path) -> None:
    module = importlib.import_module("toypack.main")
    make({}, maker=module.make)
    text = (package / "main.py").read_text()
    (package / "main.py").write_text(text.replace("1.0", "33.0"))
    with pytest.raises(UserError, match=r"toypack\.main was edited.*Restart the kernel"):
        make({}, maker=module.make)
    assert make({}, maker=importlib.reload(module).make).result == {"v": 33.0}


def test_own_code_edited_before_its_first_stage_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_OWN", "toypack")
    module = importlib.import_module("toypack.main")  # younger than this process, as a file edited since is
    with pytest.raises(UserError, match=r"toypack\.\w+ was edited.*Restart the kernel"):
        make({}, maker=module.make)
    monkeypatch.setattr(sources, "_BEGAN", time.time_ns())
    assert make({}, maker=module.make).result == {"v": 1.0}


def test_functions_of_a_notebook_count_by_their_code() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def a(folder): return {'x': 1}\ndef b(folder): return {'x': 2}\nc = lambda f: [i for i in (1, 2)]", space)
    names = sources.code_names([space["a"], space["b"], space["c"]])
    assert len(names) == 3 and all(name.startswith("function:") for name in names)
    exec("def a2(folder): return {'x': 1}", space)
    assert sources.code_digest([space["a"]]) != sources.code_digest([space["b"]])
    assert not any("0x" in name for name in names)


def test_no_table_of_the_registry_counts_whole() -> None:
    """Only the lines that are used count, so that a new loss does not train every model anew."""
    import reidlab.registry

    folder = Path(str(reidlab.registry.__file__)).parent
    tables = {f"reidlab.registry.{file.stem}" for file in folder.glob("*.py") if file.stem != "__init__"}
    assert "reidlab.registry.of_data" in tables and tables <= sources.NEUTRAL


def test_our_own_modules_resolve_and_the_store_is_left_out() -> None:
    found = sources.reachable(["reidlab.cli"])[0]
    assert "reidlab.cli" in found and not found & {"reidlab", "reidlab.errors", "reidlab.store"}
    assert "reidlab.store" in sources.reachable(["reidlab.store"])[0]


# ---- processes

CHILD = """
import json, sys, time
from pathlib import Path
from reidlab import store

def make(folder):
    with open(sys.argv[1], "a") as log:
        log.write("made\\n")
    seen = sorted(p.name for p in folder.glob("*.ckpt"))
    (folder / "first.ckpt").write_text("x")
    (folder / "data.bin").write_bytes(b"x" * 1000)
    Path(sys.argv[1] + ".started").write_text("")
    time.sleep(float(sys.argv[2]))
    return {"seen": seen}

run = store.stage("toy", "shared", params={"n": int(sys.argv[3])}, make=make, resumable=sys.argv[4] == "1")
print(json.dumps([run.made, run.result, run.manifest["attempts"]]))
"""


def spawn(log: Path, seconds: float, n: int = 0, resumable: bool = False) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(log), str(seconds), str(n), str(int(resumable))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.02)


def test_two_processes_make_one_stage_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    answers = [answer(p) for p in [spawn(log, 0.7) for _ in range(3)]]
    assert log.read_text() == "made\n" and sorted(a[0] for a in answers) == [False, False, True]
    assert all(a[1] == {"seen": []} for a in answers)


def test_different_params_do_not_wait_for_each_other(tmp_path: Path) -> None:
    slow = spawn(tmp_path / "slow", 20, n=1)
    wait_for(tmp_path / "slow.started")
    assert answer(spawn(tmp_path / "fast", 0, n=2))[0] is True
    assert slow.poll() is None
    slow.kill()
    slow.communicate()


@pytest.mark.parametrize("resumable", [False, True])
def test_killed_in_the_middle_nothing_looks_finished_and_the_next_makes_it(tmp_path: Path, resumable: bool) -> None:
    log = tmp_path / "log"
    first = spawn(log, 60, resumable=resumable)
    wait_for(Path(f"{log}.started"))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert store.list_runs() == []
    assert [p.name.startswith(".work-") for p in store.runs_root().glob("toy/*")] == [True]
    made, result, attempts = answer(spawn(log, 0, resumable=resumable))
    assert made and result == {"seen": ["first.ckpt"] if resumable else []} and attempts == (2 if resumable else 1)
    assert len(store.list_runs()) == 1 and len(list(store.runs_root().glob("toy/*"))) == 1


def test_gc_takes_leftovers_but_not_work_in_progress(tmp_path: Path) -> None:
    dead, alive = spawn(tmp_path / "dead", 60, n=1), spawn(tmp_path / "alive", 60, n=2)
    for name, process in (("dead", dead), ("alive", alive)):
        wait_for(tmp_path / f"{name}.started")
        assert process.poll() is None
    dead.kill()
    dead.communicate()
    assert store.gc(older_than=1) == []
    (only,) = store.gc(dry_run=True)
    assert only.reason == "unfinished" and 0 < only.megabytes < 0.01 and only.path.exists()
    assert store.gc() == [only] and not only.path.exists()
    assert len(list(store.runs_root().glob("toy/.work-*"))) == 1
    alive.kill()
    alive.communicate()


# ---- housekeeping


def test_selectors(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()
    for selector in (run.path.name, f"toy/{run.path.name}", run.digest[:6], run.digest):
        assert store.find_run(selector).path == run.path
    for selector in ("zz", run.digest[:3], "", f"toy/{run.path.name[:-1]}x"):
        with pytest.raises(UserError, match="no run"):
            store.find_run(selector)
    store.stage("other", "one", params=BASE, make=write)
    listed = [r.stage for r in store.list_runs()]
    assert sorted(listed) == ["other", "toy"] and [r.stage for r in store.list_runs("toy")] == ["toy"]
    monkeypatch.setattr(runs, "list_runs", lambda: [run, run])
    with pytest.raises(UserError, match="matches several runs"):
        store.find_run(run.digest[:6])


def test_gc_keeps_what_current_runs_were_made_from(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = importlib.import_module("toypack.unrelated").make
    old = make({"n": 1}, maker=maker, code=["toypack.leaf"])
    middle = make({"n": 2}, maker=maker, code=["toypack.leaf"], inputs=[old])
    lone = make({"n": 3}, maker=maker, code=["toypack.leaf"])
    new = make({"n": 4}, maker=maker, inputs=[middle])
    (package / "leaf.py").write_text("X = 2")
    assert store.gc() == []
    assert [x.path for x in store.gc(stale=True)] == [lone.path]
    assert {x.path for x in store.gc(stale=True, inputs=True)} == {old.path, middle.path}
    assert [r.path for r in store.list_runs()] == [new.path]


def test_gc_keeps_the_run_whose_table_a_current_run_names(package: Path) -> None:
    maker = importlib.import_module("toypack.unrelated").make
    provider = importlib.import_module("toypack.provider").make
    held = make({"n": 1}, maker=provider, code=["toypack.leaf"])
    lone = make({"n": 2}, maker=maker, code=["toypack.leaf"])
    make({"n": 3}, maker=maker, inputs=["ab" * 32])
    (package / "leaf.py").write_text("X = 2")
    assert [x.path for x in store.gc(stale=True)] == [lone.path] and held.path.exists()


def test_peak_memory_is_that_of_the_stage() -> None:
    """In a process of its own: how much a worker of pytest holds, and gives back, depends on the tests before."""
    code = (
        "import numpy as np, sys; from reidlab import store; from reidlab.store import provenance\n"
        "big = np.ones(25_000_000)  # 200 MB, gone before the stage begins\n"
        "before = provenance.peak_memory_mb(); del big\n"
        "run = store.stage('toy', 'one', params={}, make=lambda folder: None, code=['json'])\n"
        "print(before, run.manifest['peak_memory_mb'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, peak = map(float, done.stdout.split())
    assert before > 200 * 10**6 / 2**20
    if sys.platform == "linux":
        assert peak < before - 100


def test_listing_without_any_run() -> None:
    assert store.list_runs() == [] and store.gc(stale=True) == []


def test_half_removed_runs_do_not_look_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clearing.shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            store.remove_run(run.digest)
    assert store.list_runs() == [] and [x.reason for x in store.gc()] == ["half removed"]
    assert list(store.runs_root().glob("toy/*")) == []


def test_no_torch() -> None:
    code = "import sys, reidlab.store; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0


def test_gc_keeps_a_training_that_can_go_on() -> None:
    work = store.runs_root() / "training" / ".work-0123456789ab"
    (work / "checkpoints").mkdir(parents=True)
    (work / "checkpoints" / "last.json").write_text("{}")
    assert store.gc() == [] and work.exists()
    (only,) = store.gc(unfinished=True)
    assert only.path == work and not work.exists()


def test_a_fresh_clone_asks_the_filter_of_notebooks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts a Python for each notebook; only what differs from the commit goes through it, once."""
    log, folder = tmp_path / "asked", tmp_path / "clone"
    notebook, code = folder / "notebooks" / "a b.ipynb", folder / "code.py"
    notebook.parent.mkdir(parents=True)
    notebook.write_text("code\n")
    code.write_text("1\n")
    (folder / ".gitattributes").write_text("*.ipynb filter=reidlab-notebook\n")

    def git(*words: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@x.test")
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)

    def asked() -> int:
        found = len(log.read_text().split()) if log.exists() else 0
        log.unlink(missing_ok=True)
        return found

    git("init", "-q")
    git("config", "filter.reidlab-notebook.clean", f"echo x >> '{log}'; grep -v output || true")
    git("add", ".")
    git("commit", "-qm", "x")
    monkeypatch.setattr(provenance, "root", lambda: folder)
    os.utime(notebook)  # git's index cannot tell by the time that it is what was committed
    asked()
    assert provenance.git_state()["commit"] and not provenance.git_state()["dirty"] and not asked()
    notebook.write_text("code\noutput\n")
    assert not provenance.git_state()["dirty"] and asked() >= 1
    assert not provenance.git_state()["dirty"] and not asked()
    notebook.write_text("other code\noutput\n")
    assert provenance.git_state()["dirty"]
    git("checkout", "-q", ".")
    code.write_text("2\n")
    assert provenance.git_state()["dirty"]


def test_the_manifest_tells_the_commit_of_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([{"commit": "begun", "dirty": False}, {"commit": "later", "dirty": False}])
    monkeypatch.setattr(provenance, "git_state", lambda: next(states))
    run = store.stage("data", "x", params={}, make=lambda folder: None)
    assert run.manifest["git"]["commit"] == "begun"
