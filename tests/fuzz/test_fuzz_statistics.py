"""Any pairs, similarities, labels and files that statistics are made of end in a result or in a UserError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fuzz_cases import ends_well, fuzz, junk, junk_array, junk_number, junk_scalar
from hypothesis import example, given
from hypothesis import strategies as st
from test_fuzz_evaluate import LABELS, METRIC, arguments

from reidlab.errors import UserError
from reidlab.retrieval import (
    Calibration,
    Embeddings,
    camera_matrix,
    confused_identities,
    fit_calibration,
    identity_spread,
    reliability_table,
    single_shot_cmc,
    suspicious_labels,
    top_k_table,
    verification,
)

NUMBER = (junk_number() | junk_scalar()).filter(
    lambda value: not (isinstance(value, int | np.integer) and 50 < value <= 2**31)  # allowed, and takes long
)
FLAGS = st.lists(st.booleans(), min_size=6, max_size=6)
COSINES = st.lists(st.floats(-1, 1), min_size=6, max_size=6)


@fuzz(80)
@given(arguments({"metric": METRIC, "block_mib": st.floats(1e-6, 1) | NUMBER}), NUMBER)
def test_verification(given_arguments: dict[str, Any], rate: Any) -> None:
    found = ends_well(lambda: verification(**given_arguments))
    if not isinstance(found, UserError):
        assert 0 <= found.auc <= 1 and 0 <= found.eer <= 1
        repr(found), found._repr_html_()
        ends_well(lambda: found.tpr_at(rate))


@fuzz(60)
@given(arguments({"metric": METRIC, "ks": st.lists(st.integers(1, 9)) | junk(), "bootstrap": NUMBER, "seed": NUMBER}))
def test_top_k_table(given_arguments: dict[str, Any]) -> None:
    found = ends_well(lambda: top_k_table(**given_arguments))
    if not isinstance(found, UserError):
        shares = found[["cmc", "precision", "recall"]].to_numpy()
        assert ((shares >= 0) & (shares <= 1)).all()


@fuzz(60)
@given(arguments({"metric": METRIC, "draws": st.integers(1, 3) | NUMBER, "seed": NUMBER, "max_rank": NUMBER}))
def test_single_shot_cmc(given_arguments: dict[str, Any]) -> None:
    found = ends_well(lambda: single_shot_cmc(**given_arguments))
    assert isinstance(found, UserError) or (found["cmc"].is_monotonic_increasing and found["cmc"].between(0, 1).all())


@fuzz(80)
@given(
    st.tuples(COSINES | junk_array(), FLAGS | junk_array()) | junk(),
    st.fixed_dictionaries(
        {"draws": st.integers(1, 3) | NUMBER},
        optional={
            "method": st.sampled_from(["logistic", "isotonic"]) | junk(),
            "identities": junk_array(),
            "seed": NUMBER,
        },
    ),
    junk_array() | COSINES | junk(),
    st.floats(0, 1) | NUMBER,
)
@example(([0.5, 0.5, 0.5, 0.6], [0, 0, 1, 1]), {"draws": 1}, 0.5, 0.5)
@example(([-1.0, -1.0, 1.0, 1.0], [0, 0, 1, 1]), {"draws": 1, "method": "isotonic"}, [1, -1], 0.5)
@example(None, {}, [], 1e-308)  # 3 / far overflows
def test_calibration(pairs: Any, options: dict[str, Any], asked: Any, rate: Any) -> None:
    found = ends_well(lambda: fit_calibration(pairs, **options))
    if isinstance(found, UserError):
        found = fit_calibration(([0.1, 0.3, 0.2, 0.8], [0, 0, 1, 1]), draws=1)
    repr(found), found._repr_html_()
    for function in (found.probability, found.false_accept_rate, found.true_accept_rate):
        answer = ends_well(lambda function=function: function(asked))
        assert isinstance(answer, UserError) or ((np.asarray(answer) >= 0) & (np.asarray(answer) <= 1)).all()
    ends_well(lambda: found.probability(0.5, prior=rate))
    ends_well(lambda: found.threshold(rate))


@fuzz(60)
@given(
    st.lists(st.floats(0, 1), min_size=6, max_size=6) | junk_array() | junk(),
    FLAGS | junk_array() | junk(),
    st.integers(1, 9) | NUMBER,
    st.floats(0, 1) | NUMBER,
)
def test_reliability_table(probability: Any, same: Any, bins: Any, prior: Any) -> None:
    found = ends_well(lambda: reliability_table(probability, same, bins=bins, prior=prior))
    assert isinstance(found, UserError) or found["weight"].sum() == pytest.approx(1)


@fuzz(60)
@given(
    st.sampled_from([camera_matrix, confused_identities, identity_spread, suspicious_labels]),
    arguments({}),
    METRIC,
)
def test_tables(function: Callable[..., pd.DataFrame], given_arguments: dict[str, Any], metric: Any) -> None:
    sides = []
    for side in ("query", "gallery"):
        names = {name.partition("_")[2][:-1]: name for name in LABELS if name.startswith(side)}
        columns = {"path" if name == "image" else name: given_arguments[full] for name, full in names.items()}
        try:
            table = pd.DataFrame({"split": side, **columns}, index=range(len(given_arguments[side])))
            sides.append(Embeddings(np.asarray(given_arguments[side]), table))
        except (ValueError, TypeError):  # no table at all, as pandas sees it
            return
    options = {} if function is identity_spread else {"metric": metric}
    given_sides = sides if function in (camera_matrix, confused_identities) else sides[1:]
    assert isinstance(ends_well(lambda: function(*given_sides, **options)), pd.DataFrame | UserError)


@fuzz(80)
@given(at=st.integers(0, 5000), value=st.binary(min_size=1, max_size=8))
def test_damaged_calibrations(tmp_path_factory: pytest.TempPathFactory, at: int, value: bytes) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "fuzz_calibration.json"
    fit_calibration(([0.1, 0.3, 0.2, 0.8], [0, 0, 1, 1]), draws=1).save(file)
    content = bytearray(file.read_bytes())
    at %= len(content)
    content[at : at + len(value)] = value
    file.write_bytes(bytes(content))
    loaded = ends_well(lambda: Calibration.load(file))
    if not isinstance(loaded, UserError):
        repr(loaded), loaded._repr_html_(), loaded.probability(0.5)
