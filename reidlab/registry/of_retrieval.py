"""What evaluations and searches choose by name: metrics, re-ranking methods, and kinds of indexes."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["INDEXES", "METRICS", "RERANKINGS"]

METRICS = Registry(
    "metric",
    "metrics",
    [
        Entry("cosine", "reidlab.retrieval.distances:Cosine", "1 - cosine: only directions count"),
        Entry("euclidean", "reidlab.retrieval.distances:Euclidean", "length of the difference of two vectors"),
    ],
)

_INDEX = "reidlab.retrieval.index"
INDEXES = Registry(
    "index",
    "indexes",
    [
        Entry("flat", f"{_INDEX}.base:Flat", "exact: every vector is compared, in blocks; they can stay in a file"),
        Entry("hnsw", f"{_INDEX}.hnsw:HNSW", "a graph of near neighbours: fast to search, slow to build"),
        Entry("ivf", f"{_INDEX}.ivf:IVF", "lists around k-means centres: the lists nearest to a query are searched"),
        Entry("ivf_pq", f"{_INDEX}.ivf:IVFPQ", "such lists of vectors in a few bytes each, compared again exactly"),
        Entry("binary", f"{_INDEX}.binary:Binary", "signs as bits, by Hamming distance, compared again exactly"),
    ],
)

_RERANKING = "reidlab.retrieval.reranking"
RERANKINGS = Registry(
    "re-ranking",
    "rerankings",
    [
        Entry(
            "k_reciprocal",
            f"{_RERANKING}.k_reciprocal:KReciprocal",
            "Jaccard distance of k-reciprocal neighbours, mixed with the plain distance (Zhong et al., CVPR 2017)",
        ),
        Entry(
            "aqe",
            f"{_RERANKING}.expansion:expand",
            "average query expansion: the mean of an image and its nearest images (Chum et al., ICCV 2007)",
            defaults={"alpha": 0.0},
        ),
        Entry(
            "alpha_qe",
            f"{_RERANKING}.expansion:expand",
            "query expansion weighted by cosine ** alpha (Radenović et al., TPAMI 2019; fast-reid's AQE)",
        ),
        Entry(
            "dba",
            f"{_RERANKING}.expansion:augment_gallery",
            "database-side augmentation: gallery images become means of their nearest gallery images",
        ),
        Entry(
            "nfc",
            f"{_RERANKING}.expansion:centralize",
            "neighbour feature centralization: mutual nearest images are added (Pose2ID, CVPR 2025)",
        ),
        Entry(
            "camera_mean",
            f"{_RERANKING}.cameras:subtract_camera_means",
            "vectors less their camera's mean, plus the mean of all",
        ),
        Entry(
            "camera_norm",
            f"{_RERANKING}.cameras:CameraNorm",
            "distances standardised between each two cameras",
        ),
    ],
    given=("problem", "block_mib"),
)
