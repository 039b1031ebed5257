"""Weights: files read safely, names translated, tensors accounted for, published and pretrained ones."""
