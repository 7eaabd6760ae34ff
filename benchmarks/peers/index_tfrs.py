"""Searches with the real TFRS 0.7.7, its ScaNN included; the works of benchmarks/index.py."""

import tensorflow as tf
import tensorflow_recommenders as tfrs
from answering import Step, answer
from index_data import CLUSTERS, K, clustered, keep_found, plain

TopK = tfrs.layers.factorized_top_k.TopK


def searching(index: TopK, queries: tf.Tensor) -> Step:
    """Give a search, compiled as TensorFlow Serving would have it, whose answer is read."""
    search = tf.function(lambda batch: index(batch))

    def timed() -> None:
        scores, rows = search(queries)
        scores.numpy()
        rows.numpy()

    timed()
    return timed


def exact(batch: int) -> Step:
    """Top 100 of 1M, without structure."""
    candidates, queries = plain()
    index = tfrs.layers.factorized_top_k.BruteForce(k=K)
    index.index(tf.constant(candidates))
    return searching(index, tf.constant(queries[:batch]))


def excluding(batch: int) -> Step:
    """The same, where each query excludes 200 candidates."""
    candidates, queries = plain()
    index = tfrs.layers.factorized_top_k.BruteForce(k=K)
    index.index(tf.constant(candidates))
    given = tf.constant(queries[:batch])
    exclude = tf.reshape(tf.range(200 * batch), (batch, 200))

    def timed() -> None:
        scores, rows = index.query_with_exclusions(given, exclude)
        scores.numpy()
        rows.numpy()

    timed()
    return timed


def approximate(batch: int) -> Step:
    """Top 100 of 1M around a thousand centres, with leaves enough to find 0.999 of the truth."""
    candidates, queries = clustered()
    index = tfrs.layers.factorized_top_k.ScaNN(
        k=K, num_leaves=CLUSTERS, num_leaves_to_search=LEAVES, num_reordering_candidates=REORDERED
    )
    index.index(tf.constant(candidates))
    keep_found("tfrs", index(tf.constant(queries))[1].numpy())
    return searching(index, tf.constant(queries[:batch]))


# Half of both finds 0.97.
LEAVES, REORDERED = 20, 1000

WORKS = {
    "exact_1": lambda: exact(1),
    "exact_32": lambda: exact(32),
    "excluding_1": lambda: excluding(1),
    "excluding_32": lambda: excluding(32),
    "approximate_1": lambda: approximate(1),
    "approximate_32": lambda: approximate(32),
}

if __name__ == "__main__":
    answer(WORKS)
