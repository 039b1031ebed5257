"""Files are embedded once, in batches that are kept, and what cannot be read is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import Colours, draw
from PIL import Image
from torch import nn

from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.retrieval import embed
from reidlab.search.embedded import embed_files
from reidlab.search.files import find_images
from reidlab.search.memory import Memory

pytestmark = pytest.mark.usefixtures("settled", "own_data")


def files_of(folder: Path) -> list[str]:
    return find_images(folder).files


def never() -> nn.Module:
    raise AssertionError("nothing was to be computed")


def test_vectors_equal_those_of_embed(
    crops: Callable[[int, int], Path], model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    files = files_of(crops(5, 3))
    found = embed_files(files, lambda: model, compute, memory, batch_size=4, progress=False)
    assert found.files == files and found.n_computed == 15 and found.skipped == []
    np.testing.assert_allclose(found.vectors, embed(model, files, progress=False).vectors, atol=1e-6)
    assert found.vectors.dtype == np.float32
    assert model.calls[:4] == [4, 4, 4, 3]


def test_the_second_time_nothing_is_computed(
    crops: Callable[[int, int], Path], model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    files = files_of(crops(4, 2))
    first = embed_files(files, lambda: model, compute, memory, progress=False)
    again = embed_files(files[::-1], never, compute, memory, progress=False)
    assert again.n_computed == 0
    np.testing.assert_array_equal(again.vectors, first.vectors[::-1])
    assert again.digests == first.digests[::-1]


def test_what_changed_is_computed_again(
    crops: Callable[[int, int], Path], model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    files = files_of(crops(4, 2))
    first = embed_files(files, lambda: model, compute, memory, progress=False)
    draw(Path(files[3]), 99)
    Path(files[0]).unlink()
    again = embed_files(files[1:], lambda: model, compute, memory, progress=False)
    assert again.n_computed == 1
    same = (again.vectors == first.vectors[1:]).all(axis=1)
    assert same.tolist() == [True, True, False, True, True, True, True]


def test_bytes_are_compared_on_request(
    crops: Callable[[int, int], Path],
    model: Colours,
    compute: ComputePlan,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reidlab.search.embedded.state_of", lambda path: "as ever")
    files = files_of(crops(3, 1))
    embed_files(files, lambda: model, compute, memory, progress=False)
    draw(Path(files[1]), 99)
    assert embed_files(files, never, compute, memory, progress=False).n_computed == 0
    found = embed_files(files, lambda: model, compute, memory, check_contents=True, progress=False)
    assert found.n_computed == 1


def test_a_call_that_was_stopped_goes_on(
    crops: Callable[[int, int], Path], compute: ComputePlan, memory: Memory
) -> None:
    class Stopping(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().forward(images)

    files, stopping, model = files_of(crops(5, 2)), Stopping().eval(), Colours().eval()
    with pytest.raises(KeyboardInterrupt):
        embed_files(files, lambda: stopping, compute, memory, batch_size=3, progress=False)
    found = embed_files(files, lambda: model, compute, memory, batch_size=3, progress=False)
    assert found.n_computed == 4 and model.calls == [3, 1]
    np.testing.assert_allclose(found.vectors, embed(model, files, progress=False).vectors, atol=1e-6)


def test_all_kinds_of_files_are_accounted_for(
    tmp_path: Path, model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    good = draw(tmp_path / "f" / "good.png", 1)
    turned = Image.open(good).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees, which makes it upright again
    turned.save(tmp_path / "f" / "turned.png", exif=exif)
    draw(tmp_path / "f" / "<img src=x onerror=alert(1)>.jpg", 2)
    (tmp_path / "f" / "broken.jpg").write_bytes(good.read_bytes()[:60])
    (tmp_path / "f" / "empty.jpg").write_bytes(b"")
    (tmp_path / "f" / "text.png").write_text("no picture")
    (tmp_path / "f" / "folder.jpg").mkdir()
    files = [*files_of(tmp_path / "f"), str(tmp_path / "f" / "folder.jpg")]
    found = embed_files(files, lambda: model, compute, memory, progress=False)
    names = [Path(path).name for path in found.files]
    assert names == ["<img src=x onerror=alert(1)>.jpg", "good.png", "turned.png"]
    np.testing.assert_allclose(found.vectors[1], found.vectors[2], atol=1e-6)
    reasons = {Path(path).name: reason for path, reason in found.skipped}
    assert sorted(reasons) == ["broken.jpg", "empty.jpg", "folder.jpg", "text.png"]
    assert reasons["empty.jpg"] == "the file is empty" and "cannot identify" in reasons["text.png"]
    assert embed_files(files, never, compute, memory, progress=False).skipped == found.skipped


def test_nothing_readable_gives_no_vectors(
    tmp_path: Path, model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    found = embed_files([str(tmp_path / "a.jpg")], lambda: model, compute, memory, progress=False)
    assert len(found) == 0 and len(found.skipped) == 1
    assert len(embed_files([], never, compute, memory, progress=False)) == 0


def test_a_damaged_model_is_refused(tmp_path: Path, compute: ComputePlan, memory: Memory) -> None:
    class Broken(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * float("nan")

    file = str(draw(tmp_path / "a.png", 1))
    with pytest.raises(UserError, match="weights are damaged"):
        embed_files([file], lambda: Broken().eval(), compute, memory, progress=False)
    with pytest.raises(UserError, match="Linear has no `preprocess`"):
        embed_files([file], lambda: nn.Linear(2, 2), compute, memory, progress=False)
    with pytest.raises(UserError, match="gone"):
        embed_files([str(tmp_path / "gone.png")], never, compute, memory, progress=False)


def test_a_file_written_just_now_is_not_remembered(
    tmp_path: Path, model: Colours, compute: ComputePlan, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidlab.search.embedded.is_settled", lambda path, state, now: False)
    file = str(draw(tmp_path / "a.png", 1))
    for _ in range(2):
        assert embed_files([file], lambda: model, compute, memory, progress=False).n_computed == 1


def test_a_vector_that_was_damaged_is_computed_again(
    crops: Callable[[int, int], Path], model: Colours, compute: ComputePlan, memory: Memory
) -> None:
    files = files_of(crops(3, 1))
    first = embed_files(files, lambda: model, compute, memory, progress=False)
    for file, cut in zip(files[1:], (b"", b"\0" * 7)):
        (kept,) = memory.known([file])
        memory.keep([kept._replace(vector=cut)])
    again = embed_files(files, lambda: model, compute, memory, progress=False)
    assert again.n_computed == 2
    np.testing.assert_array_equal(again.vectors, first.vectors)
