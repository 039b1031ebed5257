"""What spoils pictures in the field, in five severities: the test of a trained model, not a part of its training.

Every corruption takes uint8 [batch, 3, height, width] and a torch.Generator on the CPU, as the transforms of training
images do, and a severity from 1 to 5. Lengths (of blur) grow with the height of the image, so that a person is spoilt
alike at every resolution. `corrupt` gives every image draws of its own, whatever batch it comes in.

Names, five severities and most constants come from Hendrycks and Dietterich, Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations, ICLR 2019 (ImageNet-C); testing people with them from Chen, Wang and Zheng,
Benchmarks for Corruption Invariant Person Re-identification, NeurIPS 2021 (Datasets and Benchmarks). Scores are not
comparable with theirs: images are small crops here, and darkness, fog and occlusion are made in our own way.
"""

from typing import Any

from reidlab.data.transforms.corruptions.each import corrupt
from reidlab.data.transforms.corruptions.severities import SEVERITIES, check_severity
from reidlab.registry import CORRUPTIONS

__all__ = ["CORRUPTIONS", "SEVERITIES", "check_severity", "corrupt"]


def __getattr__(name: str) -> Any:
    return CORRUPTIONS.attribute(name, __name__)
