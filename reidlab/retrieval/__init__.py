"""Retrieval: embeddings, exact ranking, metrics with intervals. Nothing is imported until asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.retrieval.breakdown import camera_matrix, confused_identities, identity_spread, scores_by
    from reidlab.retrieval.calibrated import Calibration
    from reidlab.retrieval.calibration import fit_calibration
    from reidlab.retrieval.causes import FailureCauses, failure_causes
    from reidlab.retrieval.cluster import evaluate_distributed
    from reidlab.retrieval.comparison import Comparison, compare_results
    from reidlab.retrieval.embedding import embed
    from reidlab.retrieval.embedding_cluster import embed_distributed
    from reidlab.retrieval.index import Index
    from reidlab.retrieval.metrics import average_precision, evaluate, inverse_negative_penalty
    from reidlab.retrieval.outcome import RetrievalResult
    from reidlab.retrieval.pair_scores import PairClassification, choose_threshold, classify_pairs, precision_recall
    from reidlab.retrieval.pairs import sample_pairs
    from reidlab.retrieval.precision_table import precision_effect
    from reidlab.retrieval.projection import Projection, fit_lda
    from reidlab.retrieval.protocol import pool_multi_query, protocol_audit
    from reidlab.retrieval.reliability import expected_calibration_error, reliability_table
    from reidlab.retrieval.reranking.chosen import refine_vectors, rerank
    from reidlab.retrieval.reranking.pairs import rerank_pairs
    from reidlab.retrieval.reranking.plain import fuse
    from reidlab.retrieval.roc import Verification, verification
    from reidlab.retrieval.seeds import SeedSummary, over_seeds
    from reidlab.retrieval.suspicious import suspicious_labels
    from reidlab.retrieval.top import rank_gallery
    from reidlab.retrieval.top_k import single_shot_cmc, top_k_table
    from reidlab.retrieval.vectors import Embeddings

_HOMES = {
    "Calibration": "calibrated",
    "Comparison": "comparison",
    "Embeddings": "vectors",
    "FailureCauses": "causes",
    "Index": "index",
    "PairClassification": "pair_scores",
    "Projection": "projection",
    "RetrievalResult": "outcome",
    "SeedSummary": "seeds",
    "Verification": "roc",
    "average_precision": "metrics",
    "camera_matrix": "breakdown",
    "choose_threshold": "pair_scores",
    "classify_pairs": "pair_scores",
    "compare_results": "comparison",
    "confused_identities": "breakdown",
    "embed": "embedding",
    "embed_distributed": "embedding_cluster",
    "evaluate": "metrics",
    "evaluate_distributed": "cluster",
    "expected_calibration_error": "reliability",
    "failure_causes": "causes",
    "fit_calibration": "calibration",
    "fit_lda": "projection",
    "fuse": "reranking.plain",
    "identity_spread": "breakdown",
    "inverse_negative_penalty": "metrics",
    "over_seeds": "seeds",
    "pool_multi_query": "protocol",
    "precision_effect": "precision_table",
    "precision_recall": "pair_scores",
    "protocol_audit": "protocol",
    "rank_gallery": "top",
    "refine_vectors": "reranking.chosen",
    "reliability_table": "reliability",
    "rerank": "reranking.chosen",
    "rerank_pairs": "reranking.pairs",
    "sample_pairs": "pairs",
    "scores_by": "breakdown",
    "single_shot_cmc": "top_k",
    "suspicious_labels": "suspicious",
    "top_k_table": "top_k",
    "verification": "roc",
}

__all__ = [
    "Calibration",
    "Comparison",
    "Embeddings",
    "FailureCauses",
    "Index",
    "PairClassification",
    "Projection",
    "RetrievalResult",
    "SeedSummary",
    "Verification",
    "average_precision",
    "camera_matrix",
    "choose_threshold",
    "classify_pairs",
    "compare_results",
    "confused_identities",
    "embed",
    "embed_distributed",
    "evaluate",
    "evaluate_distributed",
    "expected_calibration_error",
    "failure_causes",
    "fit_calibration",
    "fit_lda",
    "fuse",
    "identity_spread",
    "inverse_negative_penalty",
    "over_seeds",
    "pool_multi_query",
    "precision_effect",
    "precision_recall",
    "protocol_audit",
    "rank_gallery",
    "refine_vectors",
    "reliability_table",
    "rerank",
    "rerank_pairs",
    "sample_pairs",
    "scores_by",
    "single_shot_cmc",
    "suspicious_labels",
    "top_k_table",
    "verification",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
