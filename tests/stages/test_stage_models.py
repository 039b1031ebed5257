"""Where models come from: digests that stand for all that embeddings depend on, and names that no file can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.backbones import build_backbone
from reidlab.models.saved import load_model, save_model, saved_digest, shipped_folder
from reidlab.retrieval import embed
from reidlab.stages.models import model_from


def osnet(path: Path, head: bool) -> Path:
    torch.manual_seed(5)
    state = build_backbone("osnet_x0_25", feature_dim=512).state_dict()
    torch.save({name: tensor for name, tensor in state.items() if head or not name.startswith("fc.")}, path)
    return path


def test_what_was_left_out_is_said_and_part_of_the_digest(tmp_path: Path) -> None:
    whole = model_from(f"osnet_x0_25:{osnet(tmp_path / 'w.pth', True)}")
    bare = model_from(f"osnet_x0_25:{osnet(tmp_path / 'w.pth', False)}")
    assert whole.digest != bare.digest and bare.notes[0].endswith("(fc.*), so it was left out")
    images: Any = torch.rand(2, 3, 64, 32)
    vectors = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.inference_mode():
            vectors.append(bare.load()(images))
    assert torch.equal(*vectors) and vectors[0].shape == (2, 128)


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    source = model_from(f"osnet_x0_25:{osnet(tmp_path / 'w.pth', True)}")
    osnet(tmp_path / "w.pth", False)
    with pytest.raises(UserError, match=r"w\.pth has changed since it was looked at"):
        source.load()


def test_another_config_is_another_digest(tmp_path: Path) -> None:
    spec = {"name": "custom_cnn_v32", "height": 32, "width": 16}
    save_model(build(spec), tmp_path / "m", {"spec": spec, "num_classes": 0})
    source = model_from(str(tmp_path / "m"))
    assert not source.load().training
    config = json.loads((tmp_path / "m/config.json").read_text())
    config["preprocess"]["mean"] = [0.5, 0.5, 0.5]
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    assert model_from(str(tmp_path / "m")).digest != source.digest
    with pytest.raises(UserError, match="has changed since it was looked at"):
        source.load()


@pytest.mark.parametrize("given", ["x" * 5000, "osnet_x0_25:" + "x" * 5000 + ".pth", "a\0b.pth", "osnet_x0_25:a\0b.pt"])
def test_names_that_no_file_can_have(given: str) -> None:
    with pytest.raises(UserError):
        model_from(given)


@pytest.mark.parametrize("weights", ["x" * 5000, "x" * 5000 + ".pth", "a\0b.pth"])
def test_weights_that_no_file_can_be(weights: str) -> None:
    with pytest.raises(UserError):
        build({"name": "resnet18", "weights": weights})


def test_the_shipped_model_is_found_by_its_name() -> None:
    source = model_from(" small ")
    assert source.label == "small"
    assert source.digest == saved_digest(shipped_folder("small"))
    assert source.facts["trained_on"] == "market1501 and cuhk03"
    assert source.facts["epochs"] == 134
    assert "was trained on market1501 and cuhk03" in source.notes[0]
    assert source.load().dim == 512


def test_the_shipped_model_embeds_files_without_training(tmp_path: Path) -> None:
    files = []
    for index, colour in enumerate([(200, 30, 30), (200, 30, 30), (20, 60, 180)]):
        files.append(tmp_path / f"{index}.png")
        Image.new("RGB", (48, 128), colour).save(files[-1])
    vectors = embed(load_model("small"), [str(file) for file in files]).vectors
    assert vectors.shape == (3, 512)
    same, other = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert same > other
