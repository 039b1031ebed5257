"""Pickles that torch's safe reader would never finish, or end the process with: refused before it sees them."""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from weight_files import doubled, saved, with_pickle

from reidlab.errors import UserError
from reidlab.models.weights.pickles import check_pickle
from reidlab.models.weights.reading import read_object, read_weights

LONG = b"\x8a\x08" + struct.pack("<q", 10**15)  # the number 10^15
CALL = b"\x85R"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"}" + doubled(60) + b"Ns.", "repeats values beyond any sensible limit"),  # its hash takes 2^60 steps
        (doubled(16) + (b"}" + b"h\x0fNs" * 50) * 25 + b".", "keys of too many parts"),
        (
            b"}" + b")" + b"\x85" * 200_000 + b"Ns.",
            "nests values beyond any sensible limit",
        ),  # its hash ends the process
        (b"}q\x00X\x01\x00\x00\x00ah\x00s.", "contains an object that refers to itself"),
        (b"c__builtin__\nbytearray\n" + LONG + CALL + b".", r"calls __builtin__.bytearray\(10000000"),
        (b"ctorch\nTensor\n" + LONG + CALL + b".", r"calls torch.Tensor\("),
        (b"ctorch\nFloatStorage\n" + LONG + CALL + b".", r"calls torch.FloatStorage\("),
        (b"cnumpy\ndtype\nX\x0b\x00\x00\x00V2000000000" + CALL + b".", r"calls numpy.dtype\('V2000000000'\)"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x08\x00\x00\x00punycode\x86R.", r"calls _codecs.encode\('a'\)"),
        (b"}R.", "breaks off or is damaged"),
        (b"])R.", r"calls a value\(\)"),
        (b"(((", "breaks off"),
        (b"", "breaks off"),
        (b"\x93.", "STACK_GLOBAL"),
        (b"X\xff\xff\xff\xffabc.", "breaks off or is damaged"),
    ],
)
def test_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = with_pickle(tmp_path / "w.pth", b"\x80\x02" + content)
    with pytest.raises(UserError, match=match) as error:
        read_object(path)
    assert "w.pth" in str(error.value)


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.models.weights.pickles.MAX_OPERATIONS", 100)
    check_pickle(io.BytesIO(pickle.dumps([None] * 80, protocol=2)), "a file", 1000)
    with pytest.raises(UserError, match="a file has more than 100 pickled values"):
        check_pickle(io.BytesIO(pickle.dumps([None] * 100, protocol=2)), "a file", 1000)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_that_claims_more_than_its_file(tmp_path: Path, legacy: bool) -> None:
    """A storage of petabytes, and a tensor that reaches beyond its storage."""
    options = {"_use_new_zipfile_serialization": not legacy}
    good = saved(tmp_path / "good.pth", {"stem.weight": torch.zeros(77)}, **options)
    content = good.read_bytes()
    if not legacy:
        import zipfile

        with zipfile.ZipFile(good) as archive:
            content = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    number, path = b"K\x4d", tmp_path / "w.pth"
    storage = content.replace(number, LONG, 1)
    reaching = content.replace(number, b"J\xff\xff\xff\x7f").replace(b"J\xff\xff\xff\x7f", number, 1)
    for changed, claimed in ((storage, "1,000,000,000,000,000"), (reaching, "2,147,483,647")):
        assert changed != content
        path.write_bytes(changed) if legacy else with_pickle(path, changed)
        with pytest.raises(UserError, match=rf"w\.pth: tensor 'stem.weight' claims {claimed} numbers"):
            read_weights(path)


def test_an_old_file_whose_numbers_are_not_listed(tmp_path: Path) -> None:
    """The last pickle of a file from before torch 1.6 lists what follows; torch leaves what it omits at random."""
    good = saved(tmp_path / "w.pth", {"a": torch.zeros(3)}, _use_new_zipfile_serialization=False).read_bytes()
    start = good.rindex(b"\x80\x02]")
    end = good.index(b"a.", start) + 2
    (tmp_path / "w.pth").write_bytes(good[:start] + b"\x80\x02]." + good[end:])
    with pytest.raises(UserError, match="1 of its tensors have no numbers"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_checkpoints_hold_is_read(tmp_path: Path, legacy: bool) -> None:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    shared = (1, 2, ("a", 2.5))
    content: dict[str, Any] = {
        "state_dict": OrderedDict(network.state_dict()),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "rank1": np.float64(0.9),
        "best": np.int64(3),
        "shared": [shared, shared, {shared: 1}],
        "parameter": network.weight,
        "view": torch.arange(10.0)[2:8:3],
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.0),
        "bytes": b"abc",
        "big": 2**40,
    }
    path = saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=not legacy)
    found = read_object(path)
    assert found.keys() == content.keys() and found["shared"] == content["shared"] and found["big"] == 2**40
    assert torch.equal(found["view"], torch.tensor([2.0, 5.0])) and torch.equal(found["parameter"], network.weight)
    assert read_weights(path).keys() == {"weight", "bias"}
