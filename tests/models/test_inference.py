"""Embedding many images: the same numbers whatever the batch, mirrored or not, and what goes wrong by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Preprocess
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.inference import embed_rows, fitting_batch_size, free_memory

CPU = plan("cpu", "float32")
N = 7


def store_of(folder: Path, mirrored: bool = False) -> PixelStore:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(N):
        pixels = rng.integers(0, 256, (48, 24, 3), dtype=np.uint8)
        paths.append(folder / f"{i}{'m' * mirrored}.png")
        Image.fromarray(pixels[:, ::-1] if mirrored else pixels).save(paths[-1])
    return PixelStore.build(pd.DataFrame({"path": map(str, paths)}), folder / "store", size=(48, 24), progress=False)


@pytest.fixture
def pixels(tmp_path: Path) -> PixelStore:
    return store_of(tmp_path)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    made = build({"name": "custom_cnn_v32", "height": 32, "width": 16, "neck": "bnneck"}, 3)
    with torch.no_grad():
        made.train()(torch.rand(8, 3, 32, 16))  # statistics that are not 0 and 1
    return made.eval()


def test_equals_one_by_one(model: nn.Module, pixels: PixelStore) -> None:
    rows = np.array([3, 0, 6, 3])
    found = embed_rows(model, pixels, rows, CPU)
    assert found.shape == (4, 128) and found.dtype == np.float32
    with torch.inference_mode():
        for vector, row in zip(found, rows):
            image = torch.from_numpy(pixels.image(row).copy()).permute(2, 0, 1)[None]
            alone = model(model.preprocess(image))[0].numpy()
            np.testing.assert_allclose(vector, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_batch_size_does_not_matter(model: nn.Module, pixels: PixelStore, flip: bool) -> None:
    rows = np.arange(N)
    whole = embed_rows(model, pixels, rows, CPU, flip=flip)
    for size in (1, 3, N):
        np.testing.assert_allclose(
            embed_rows(model, pixels, rows, CPU, flip=flip, batch_size=size), whole, rtol=1e-4, atol=1e-5
        )


def test_flip_is_symmetric(model: nn.Module, pixels: PixelStore, tmp_path: Path) -> None:
    mirrored, rows = store_of(tmp_path, mirrored=True), np.arange(N)
    plain = embed_rows(model, pixels, rows, CPU)
    other = embed_rows(model, mirrored, rows, CPU)
    assert np.abs(plain - other).max() > 1e-3  # without the flip the two differ
    both = embed_rows(model, pixels, rows, CPU, flip=True)
    np.testing.assert_allclose(both, embed_rows(model, mirrored, rows, CPU, flip=True), rtol=1e-4, atol=1e-5)
    by_hand = (plain + other) / np.linalg.norm(plain + other, axis=1, keepdims=True)
    np.testing.assert_allclose(both, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(model: nn.Module, pixels: PixelStore, training: bool) -> None:
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    embed_rows(model, pixels, np.arange(N), CPU, flip=True)
    assert model.training is training and model.network.dropout.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_no_rows(model: nn.Module, pixels: PixelStore) -> None:
    found = embed_rows(model, pixels, np.zeros(0, np.int64), CPU)
    assert found.shape == (0, 128) and found.dtype == np.float32


def test_bfloat16_is_near(model: nn.Module, pixels: PixelStore) -> None:
    rows = np.arange(N)
    exact = embed_rows(model, pixels, rows, CPU)
    rough = embed_rows(model, pixels, rows, plan("cpu", "bfloat16"))
    assert rough.dtype == np.float32
    assert (np.sum(exact * rough, axis=1) > 0.99).all()


def test_damaged_weights_name_the_row(model: nn.Module, pixels: PixelStore) -> None:
    model.train()
    with torch.no_grad():
        model.network.head[3].weight[0, 0] = torch.nan
    with pytest.raises(UserError, match=r"NaN or infinite values \(first at row 5\)"):
        embed_rows(model, pixels, np.array([5, 2]), CPU)
    assert model.training


class OneBadImage(nn.Module):
    """Infinite for images brighter than its limit."""

    dim = 2
    preprocess = Preprocess(48, 24)

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3))
        return torch.stack([bright, torch.where(bright > self.limit, torch.inf, bright)], dim=1)


def test_the_first_bad_row_is_named_across_batches(pixels: PixelStore) -> None:
    brightness = [float(pixels.image(i).mean()) / 255 for i in range(N)]
    brightest = int(np.argmax(brightness))
    limit = (sorted(brightness)[-1] + sorted(brightness)[-2]) / 2
    with pytest.raises(UserError, match=f"first at row {brightest}\\)"):
        embed_rows(OneBadImage(limit), pixels, np.arange(N), CPU, batch_size=2)


@pytest.mark.parametrize("size", [0, -4])
def test_refused_batch_size(model: nn.Module, pixels: PixelStore, size: int) -> None:
    with pytest.raises(UserError, match=f"batch_size={size} must be 1 or more"):
        embed_rows(model, pixels, np.arange(N), CPU, batch_size=size)


def test_a_row_outside_the_store(model: nn.Module, pixels: PixelStore) -> None:
    model.train()
    for rows in ([0, N], [-1, 2]):
        with pytest.raises(IndexError, match="the store's 7 images"):
            embed_rows(model, pixels, np.array(rows), CPU)
    assert model.training


def test_fitting_batch_size() -> None:
    small, large = Preprocess(128, 64), Preprocess(384, 384)
    assert fitting_batch_size(small, 0) == 8
    assert fitting_batch_size(small, 10**15) == 512
    assert fitting_batch_size(small, 5 * 128 * 64 * 600 * 100) == 100
    assert fitting_batch_size(large, 2**32) < fitting_batch_size(small, 2**32)
    assert 8 <= fitting_batch_size(small, free_memory(torch.device("cpu"))) <= 512


def test_a_gpu_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (12345, 99999))
    assert free_memory(torch.device("cuda")) == 12345 and free_memory(torch.device("cpu")) > 2**20
