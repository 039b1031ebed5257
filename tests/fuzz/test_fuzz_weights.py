"""Any file of weights and any config ends in a model whose every embedding tensor was loaded, or in a UserError."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz_cases import ends_well, fuzz, junk, junk_text
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.saved import load_model, save_model
from reidlab.models.weights.embedding_path import check_loaded
from reidlab.models.weights.load import load_state, read_object, read_weights
from reidlab.models.weights.published import load_published
from reidlab.registry import MODELS, Entry
from reidlab.training.checkpoints import Checkpoints

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "weights"))
from weight_files import doubled, with_pickle

SIZE = {"height": 16, "width": 16}
SPEC = {"name": "custom_cnn_v32", "neck": "bnneck", **SIZE}
KINDS = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex32, torch.int8]
KINDS += [torch.uint8, torch.int64, torch.bool, torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2]


class Tiny(nn.Module):
    """The smallest model: a convolution, a batch norm, a classifier that no embedding passes through."""

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__()
        self.preprocess, self.dim = Preprocess(16, 16), 4
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.classifiers = nn.ModuleList([nn.Linear(4, 2)])

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.norm(self.conv(images)).relu().mean((2, 3)), dim=1)


@pytest.fixture(autouse=True)
def _a_tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS._own, "tiny", Entry("tiny", f"{__name__}:Tiny", "for fuzzing"))


def filled() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: tensor.clone() for name, tensor in Tiny().state_dict().items()}


@cache
def originals() -> dict[str, bytes]:
    """Return good files by their ending: as torch writes them, wrote them before 1.6, and as safetensors."""
    found = {".safetensors": save_safetensors(filled())}
    nested = {"state_dict": OrderedDict(filled()), "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    for ending, old in ((".pth", False), (".pt", True)):
        buffer = io.BytesIO()
        torch.save(nested, buffer, _use_new_zipfile_serialization=not old)
        found[ending] = buffer.getvalue()
    return found


def loaded_or_refused(path: Path) -> None:
    """Load a file as `tiny:FILE` under two seeds: refused, or the same embeddings, all finite."""

    def load(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return load_published("tiny", path).model(torch.ones(1, 3, 16, 16))

    first, second = (ends_well(lambda seed=seed: load(seed)) for seed in (1, 2))
    if isinstance(first, UserError):
        assert path.name in str(first) or "w.p" in str(first), f"the file is not named: {first}"
        assert str(first) == str(second)
    else:
        assert torch.equal(first, second), "what was not loaded makes embeddings"


def test_the_good_files_are_good(tmp_path: Path) -> None:
    for ending, content in originals().items():
        (tmp_path / f"w{ending}").write_bytes(content)
        assert read_weights(tmp_path / f"w{ending}").keys() == filled().keys()
        load_published("tiny", tmp_path / f"w{ending}")


def changed_bytes() -> st.SearchStrategy[tuple[str, list[tuple[float, bytes, int]], float]]:
    """Draw a file's ending, edits of its bytes (where, what, how many bytes go), and how much of it is kept."""
    numbers = st.sampled_from([b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"\x80", b".", b"(", b"t", b"R", b"Q"])
    edit = st.tuples(st.floats(0, 1), st.binary(max_size=4) | numbers, st.integers(0, 9))
    kept = st.just(1.0) | st.floats(0, 1)
    return st.tuples(st.sampled_from(sorted(originals())), st.lists(edit, max_size=4), kept)


@fuzz(120)
@given(changed_bytes())
def test_files_with_changed_bytes(change: tuple[str, list[tuple[float, bytes, int]], float]) -> None:
    ending, edits, kept = change
    content = bytearray(originals()[ending])
    for place, new, gone in edits:
        at = int(place * len(content))
        content[at : at + gone] = new
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w{ending}"
        path.write_bytes(bytes(content[: int(kept * len(content))]))
        loaded_or_refused(path)


def opcodes() -> st.SearchStrategy[bytes]:
    """Draw operations of pickles, most of which make no sense together."""
    names = ["torch\nFloatStorage", "torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch\nSize"]
    names += [
        "torch\nTensor",
        "builtins\nset",
        "__builtin__\nbytearray",
        "torch\nfloat32",
        "os\nsystem",
        "numpy\ndtype",
    ]
    names += ["torch._tensor\n_rebuild_from_type_v2", "torch._utils\n_rebuild_parameter", "argparse\nNamespace"]
    one = st.sampled_from([bytes([code]) for code in b"(N\x88\x89)]}\x8ftus\x85\x86\x87RbQae.0"])
    called = st.sampled_from([f"c{name}\n".encode() for name in names])
    values = st.sampled_from(
        [b"K\x03", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x0f", b"X\x01\x00\x00\x00w"]
    )
    values |= st.sampled_from([b"q\x01", b"h\x01", b"X\x07\x00\x00\x00storage", b"X\x03\x00\x00\x00cpu", doubled(40)])
    return st.lists(one | called | values, max_size=25).map(lambda parts: b"\x80\x02" + b"".join(parts) + b".")


@fuzz(60)
@given(opcodes())
@example(b"\x80\x02}" + doubled(60) + b"Ns.")
@example(b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.")
@example(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.")
def test_pickles_of_any_operations(pickled: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ends_well(lambda: read_object(with_pickle(Path(folder) / "w.pth", pickled)))
        (Path(folder) / "old.pth").write_bytes(pickled * 5)
        ends_well(lambda: read_object(Path(folder) / "old.pth"))


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw the odd once in eight times; `usual | odd` draws each of its many kinds as often."""
    return st.integers(0, 7).flatmap(lambda number: usual if number else odd)


def odd_tensor(shape: tuple[int, ...], kind: torch.dtype, form: str) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about quantised and sparse tensors
        tensor = torch.ones(shape, dtype=torch.float32)
        if form == "quantised":
            return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)
        if form == "meta":
            return torch.empty(shape, dtype=kind, device="meta")
        if form == "nan":
            return torch.full(shape, float("nan"))
        if form == "expanded":
            return torch.ones((), dtype=torch.float32).expand(shape)
        if form == "parameter":
            return nn.Parameter(tensor)
        if form in ("sparse", "csr") and len(shape) == 2:
            return tensor.to_sparse() if form == "sparse" else tensor.to_sparse_csr()
        return tensor.to(kind)


def odd_tensors() -> st.SearchStrategy[Tensor]:
    shapes = st.sampled_from([(), (4,), (2, 4), (2,), (4, 3, 3, 3), (0,), (1, 1)])
    forms = st.sampled_from(["plain"] * 6 + ["quantised", "meta", "nan", "expanded", "parameter", "sparse", "csr"])
    return st.builds(odd_tensor, shapes, st.sampled_from(KINDS), forms)


def odd_states() -> st.SearchStrategy[Any]:
    """Draw state dicts: good ones with tensors changed, lost or added, under prefixes, and in nests."""
    names = st.sampled_from(
        [*filled(), "module.conv.weight", "net.conv.weight", "bottleneck.running_mean", "fc.0.weight"]
    )
    values = mostly(mostly(odd_tensors(), st.none()), junk())
    changes = st.dictionaries(mostly(names, junk_text()), values, max_size=3)
    prefix = st.sampled_from(["", "module.", "model.module.", "backbone."])

    def make(prefix: str, changes: dict[str, Any]) -> dict[Any, Any]:
        state = {**filled(), **changes}
        return {prefix + name: value for name, value in state.items() if value is not None}

    states = st.builds(make, prefix, changes)
    nests = st.lists(st.sampled_from(["state_dict", "model", "net", "teacher", "other"]), max_size=3)
    return st.builds(nested, nests, mostly(states, junk()))


def nested(names: list[str], content: Any) -> Any:
    for name in names:
        content = {name: content}
    return content


@fuzz(120)
@given(odd_states())
@example({**filled(), "conv.weight": None})
def test_any_content(content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "w.pth"
        try:
            torch.save(content, path)
        except Exception:  # what cannot be pickled is no file
            return
        warnings.simplefilter("error")
        loaded_or_refused(path)


@fuzz(25)
@given(odd_states())
def test_any_state_into_a_network_with_key_maps(content: Any) -> None:
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        return
    state = {name: value for name, value in content.items() if type(value) is Tensor and not value.is_meta}
    state = {name: value for name, value in state.items() if value.layout is torch.strided and not value.is_quantized}
    ends_well(lambda: load_state(vit(), state, min_match=0))


@cache
def vit() -> Any:
    model: Any = build({"name": "vit_tiny_patch16_224", "height": 16, "width": 16})
    return model.backbone.network


def changed_configs() -> st.SearchStrategy[Any]:
    """Draw configs in which one value, at any depth, is junk."""
    good = {"spec": SPEC, "num_classes": 2, "preprocess": {**SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}}
    numbers = st.sampled_from([0, -1, 1, 2, 10**9, 10**12, 1.5, 1e300, True, None, "", "16", [], {}, [0.5, 0.5]])
    value = mostly(numbers, junk())
    places: list[tuple[str, ...]] = [(name,) for name in good]
    places += [("spec", name) for name in ("name", "neck", "height", "embedding", "parts", "dropout", "last_stride")]
    places += [("preprocess", name) for name in ("height", "mean", "std", "interpolation", "other")]

    def make(place: tuple[str, ...], value: Any) -> Any:
        config: dict[str, Any] = json.loads(json.dumps(good))
        holder = config if len(place) == 1 else config[place[0]]
        holder[place[-1]] = value
        return config

    return mostly(st.builds(make, st.sampled_from(places), value), junk())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    save_model(build(SPEC, 2), folder, {"spec": SPEC, "num_classes": 2})
    yield folder


@fuzz(60)
@given(changed_configs())
def test_any_config(saved: Path, config: Any) -> None:
    try:
        text = json.dumps(config)
    except (TypeError, ValueError):
        text = repr(config)
    (saved / "config.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    model = ends_well(lambda: load_model(saved))
    if not isinstance(model, UserError):
        check_loaded(model, read_weights(saved / "model.safetensors").keys(), "saved")


@fuzz(60)
@given(
    st.sampled_from(["last.json", "progress.json", "state.pt", "model.safetensors"]),
    st.binary(max_size=40),
    st.floats(0, 1),
)
def test_any_checkpoint(file: str, new: bytes, place: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        checkpoints.save(1, Tiny(), {"optimizer": {"lr": 1.0}, "rng": torch.ones(3)}, {"history": []})
        path = next(Path(folder).rglob(file))
        content = path.read_bytes()
        at = int(place * len(content))
        path.write_bytes(content[:at] + new + content[at + 10 :])
        ends_well(checkpoints.load)
