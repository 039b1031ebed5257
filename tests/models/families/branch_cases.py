"""What the tests of models with several branches share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reidlab.models import Output

IDENTITIES = 5


def on_meta(kind: type[nn.Module], num_classes: int = 0, **options: Any) -> Any:
    """Build without memory: for counting only."""
    with torch.device("meta"):
        return kind(num_classes, **options)


def small(kind: type[nn.Module], num_classes: int = IDENTITIES, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(num_classes, **options)


def images_of(height: int = 64, width: int = 32, batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def check_output(output: Output, widths: dict[str, tuple[int, int]], batch: int = 4) -> None:
    """Check names, order and shapes of the branches: name -> width before and after the neck; logits of all."""
    assert isinstance(output, Output) and output.branches is not None
    assert list(output.branches) == list(widths)
    for name, (before, after) in widths.items():
        branch = output.branches[name]
        assert branch.before.shape == (batch, before) and branch.after.shape == (batch, after), name
    with_logits = [branch.logits for branch in output.branches.values() if branch.logits is not None]
    assert len(with_logits) == len(output.logits)
    assert all(one is other for one, other in zip(with_logits, output.logits))
    assert all(logits.shape == (batch, IDENTITIES) for logits in output.logits)


# gates of one hidden unit may be shut for every image; softmax and BN take out what is added to all they see
MAY_REST = ("gate.fc1.weight", "gate.fc1.bias", "gate.fc2.weight", "attn.bias", "key.bias", "value.bias")


def check_gradients(model: nn.Module) -> None:
    """Check that classifiers and features before necks together reach every parameter that trains."""
    for parameter in model.parameters():
        if parameter.dim() == 1 and parameter.requires_grad and not parameter.any():
            nn.init.constant_(parameter, 0.5)  # attention and residual branches start shut, and what is in them rests
    model.zero_grad()
    output = model.train()(images_of())
    loss = sum(nn.functional.cross_entropy(logits, torch.arange(4)) for logits in output.logits)
    (loss + sum(branch.before.square().mean() for branch in output.branches.values())).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    assert [name for name, grad in trained.items() if not name.endswith(MAY_REST) and not grad.any()] == []


def check_evaluation(model: nn.Module) -> None:
    """Check embeddings at evaluation: width, unit length, each image by itself, a state dict that gives them back."""
    model.train()(images_of())  # statistics of the norms
    model.eval()
    images = images_of(53, 27, batch=3)  # odd sizes all the way down
    with torch.inference_mode():
        vectors = model(images)
        assert vectors.shape == (3, model.dim) and vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(model(images), vectors, rtol=0, atol=0)
        torch.testing.assert_close(model(images[1:2]), vectors[1:2], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(vectors[0], vectors[1])
        saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for tensor in model.state_dict().values():
            tensor.zero_()
        model.load_state_dict(saved)
        torch.testing.assert_close(model(images), vectors, rtol=0, atol=0)
