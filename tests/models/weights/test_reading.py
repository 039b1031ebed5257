"""Files of weights that cannot be used: each ends in a UserError that names the file, the tensor and the remedy."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from weight_files import saved, with_pickle

from reidlab.errors import UserError
from reidlab.models.weights.reading import read_object, read_weights

GOOD = {"a.weight": torch.ones(2, 3)}


def nested(depth: int) -> Any:
    content: Any = dict(GOOD)
    for _ in range(depth):
        content = {"model": content}
    return content


@pytest.mark.parametrize(
    ("tensor", "kind", "remedy"),
    [
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised", "dequantize"),
        (lambda: torch.eye(3).to_sparse(), "torch.sparse_coo, not dense", "to_dense"),
        (lambda: torch.eye(3).to_sparse_csr(), "torch.sparse_csr, not dense", "to_dense"),
        (lambda: torch.ones(3, device="meta"), "on the device 'meta', without numbers", "with its numbers"),
        (lambda: torch.ones(3, dtype=torch.complex64), "complex.* imaginary part would be lost", "real weights"),
        (lambda: torch.ones(3).to(torch.float8_e4m3fn), "of type torch.float8_e4m3fn", "float32"),
        (lambda: torch.ones(3, dtype=torch.uint16), "of type torch.uint16", "float32"),
        (lambda: torch.ones(1).expand(1000), "one stored value that is repeated", "contiguous"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:.*quantize:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*[Qq]uantiz.*")
def test_tensors_of_odd_kinds(tmp_path: Path, tensor: Callable[[], Tensor], kind: str, remedy: str) -> None:
    path = saved(tmp_path / "w.pth", {"state_dict": {**GOOD, "odd.weight": tensor()}})
    with pytest.raises(UserError, match=rf"w\.pth: tensor 'odd.weight' is {kind}.*{remedy}"):
        read_weights(path)


def test_odd_tensors_of_safetensors(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "odd": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: tensor 'odd' is of type torch.float8_e5m2"):
        read_weights(tmp_path / "w.safetensors")


def test_checkpoints_in_checkpoints(tmp_path: Path) -> None:
    assert read_weights(saved(tmp_path / "w.pth", nested(5))).keys() == GOOD.keys()
    with pytest.raises(UserError, match="checkpoints inside checkpoints, more than 16 deep"):
        read_weights(saved(tmp_path / "w.pth", nested(40)))


def test_a_dict_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    content["model"] = content
    with pytest.raises(
        UserError, match=r"w\.pth contains an object that refers to itself\. Save `model.state_dict\(\)` alone"
    ):
        read_weights(saved(tmp_path / "w.pth", content))


def test_a_name_without_end(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a tensor whose name has 30,000 characters"):
        read_weights(saved(tmp_path / "w.pth", {"model." * 5000: torch.zeros(1)}))


def test_an_archive_that_is_compressed(tmp_path: Path) -> None:
    """A hundred megabytes of zeros in a hundred kilobytes."""
    path = tmp_path / "w.pth"
    with_pickle(path, b"\x80\x02}.", compress=True)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(100_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(UserError, match=r"w\.pth is not .*its archive is compressed: 100,0.* save it again"):
        read_weights(path)


def test_an_archive_with_two_pickles_of_one_name(tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "w.pth", b"\x80\x02}.")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("ARCHIVE/DATA.PKL", b"\x80\x02}.")
    with pytest.raises(UserError, match="its archive is not as torch"):
        read_weights(path)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (struct.pack("<Q", 2**40) + b"{}", r"its header claims 1,099,511,627,776 bytes"),
        (struct.pack("<Q", 0) + b"{}", "its header claims 0 bytes"),
        (b"abc", "its header claims 0 bytes"),
        (struct.pack("<Q", 2) + b"[]", "not readable"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "not readable"),
    ],
)
def test_headers_of_safetensors(tmp_path: Path, header: bytes, match: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(header)
    with pytest.raises(UserError, match=rf"w\.safetensors is .*{match}|{match}"):
        read_weights(tmp_path / "w.safetensors")


def test_a_tensor_of_petabytes_in_safetensors(tmp_path: Path) -> None:
    shape = {"a": {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}}
    text = json.dumps(shape).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(UserError, match=r"w\.safetensors is not readable"):
        read_weights(tmp_path / "w.safetensors")


def test_a_file_larger_than_the_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "w.pth", GOOD)
    monkeypatch.setattr("reidlab.models.weights.reading.free_memory", lambda _device: 100)
    with pytest.raises(UserError, match=r"w\.pth has [\d,]+ bytes, and 100 bytes of memory are free"):
        read_object(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(UserError, match="is a folder or a device, not a file"):
        read_weights(tmp_path / "w.pth")


def test_paths_that_no_file_has(tmp_path: Path) -> None:
    for name in ("x" * 5000 + ".pth", "a\0b.pth"):
        with pytest.raises(UserError, match="does not exist"):
            read_weights(tmp_path / name)


def test_attributes_that_a_file_gives_its_tensors_are_left_behind(tmp_path: Path) -> None:
    tensor = torch.ones(3)
    tensor.is_complex = "not a function"  # type: ignore[assignment,method-assign]
    found = read_weights(saved(tmp_path / "w.pth", {"a": tensor}))["a"]
    assert torch.equal(found, torch.ones(3)) and found.is_complex() is False


def test_torchs_own_advice_is_not_repeated(tmp_path: Path) -> None:
    """It is to load without the safety check, with escape codes for bold in it."""
    with pytest.raises(UserError) as error:
        read_weights(saved(tmp_path / "w.pth", {"a": torch.ones(1), "b": print}))
    assert "\x1b" not in str(error.value) and "x1b" not in str(error.value) and "weights_only" not in str(error.value)
    assert "it holds print, which only code could rebuild; save `model.state_dict()` alone" in str(error.value)
