"""A model that a colour histogram beats is flagged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reidlab.retrieval.metrics import evaluate
from reidlab.stages.floor import PERSON, WHOLE, over_floor


@pytest.mark.parametrize(("best", "flagged"), [(0.5, False), (1.0, True)])
def test_a_model_that_is_not_above_the_better_histogram_is_flagged(best: float, flagged: bool) -> None:
    vectors = np.eye(4)
    result = evaluate(
        vectors, np.roll(vectors, 1, axis=0)[[0, 1, 2, 3]], query_pids=[1, 2, 3, 4], gallery_pids=[4, 1, 2, 3]
    )
    assert result.mean_ap == 1
    floor = pd.DataFrame({"floor": [WHOLE, PERSON], "mAP": [0.2, best], "rank1": [0.1, 0.2]})
    said = over_floor(result, floor)
    assert said.startswith("WARNING") == flagged
    assert f"mAP 100.0% against {best:.1%} of the {PERSON}" in said
