"""Every registered model: maps where there is something spatial, a plain sentence where there is not.

The other tests of this folder take one model of each family. This one goes through all of them, minutes of work, so it is
run on request: `REIDLAB_ALL_MODELS=1 pytest tests/explain/test_all_models.py`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from explain_cases import REGISTERED, SIZES, SMALL, built, embedded, images

from reidlab.errors import UserError
from reidlab.explain import attention_maps, layers, methods_of, pair_map
from reidlab.registry import MAPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("REIDLAB_ALL_MODELS" not in os.environ, reason="minutes: set REIDLAB_ALL_MODELS=1"),
]


@pytest.mark.parametrize("name", REGISTERED)
def test_each_has_maps_or_says_why_not(name: str) -> None:
    model: Any = built(name)
    size = {**SMALL, **SIZES.get(name, {})}
    given = images(2, size["height"], size["width"], seed=5)
    assert layers(model), "every registered model has layers with places"
    has = methods_of(model)
    assert {"activation", "gradcam", "occlusion"} <= set(has)
    for method in MAPS:
        if method in has and method != "occlusion":  # hundreds of passes, which know nothing of the model
            found = attention_maps(model, given, method).maps
            assert found.shape[0] == 2 and found[0].size > 1 and np.isfinite(found).all(), method
            assert found.min() >= 0 and found.max() <= 1 + 1e-6, method
        elif method not in has:
            with pytest.raises(UserError, match=rf"method '{method}' does not show \w+: it.*Those that do are"):
                attention_maps(model, given, method)
    one, other = embedded(model, given)
    cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    try:
        pair = pair_map(model, given[0], given[1])
    except UserError as error:
        known = ("has no parts by location", "cannot be taken apart by location")
        assert any(words in str(error) for words in known) and "such a model" in str(error), error
        return
    for part in (pair.query, pair.gallery, pair.pairs):
        assert part.sum(dtype=np.float64) == pytest.approx(cosine, abs=1e-5)
