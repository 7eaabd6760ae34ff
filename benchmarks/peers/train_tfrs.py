"""Training and evaluation with the real TFRS 0.7.7; the works of benchmarks/train.py."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from answering import Step, answer


def dataset(arrays: object, batch: int) -> tf.data.Dataset:
    """Batch arrays for ever, in order; tf.data's own tuning is off, since it takes the cores at random."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    slices = tf.data.Dataset.from_tensor_slices(arrays).batch(batch, drop_remainder=True)
    return slices.cache().repeat().prefetch(2).with_options(options)


def training(model: tfrs.Model, optimizer: tf.keras.optimizers.Optimizer, data: tf.data.Dataset) -> Step:
    """Give what `Model.fit` does at a step, warmed up."""
    model.compile(optimizer=optimizer)
    step = model.make_train_function()
    iterator = iter(data)
    for _ in range(3):
        step(iterator)

    def timed() -> None:
        # Read, so that the step is over.
        step(iterator)["loss"].numpy()

    return timed


class TwoTower(tfrs.Model):
    """The quickstart's model over integer ids."""

    def __init__(self, users: int, items: int, dim: int, metrics: object = None) -> None:
        super().__init__()
        self.users = tf.keras.layers.Embedding(users, dim)
        self.items = tf.keras.layers.Embedding(items, dim)
        self.task = tfrs.tasks.Retrieval(metrics=metrics)

    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """In-batch softmax; metrics are computed outside training only, as the tutorials advise."""
        return self.task(
            self.users(features["user"]), self.items(features["item"]), compute_metrics=not training
        )


def pairs(users: int, items: int, count: int) -> dict[str, np.ndarray]:
    """Draw pairs of a user and an item, the same on both sides."""
    random = np.random.default_rng(1)
    return {"user": random.integers(0, users, count), "item": random.integers(0, items, count)}


def large(optimizer: tf.keras.optimizers.Optimizer) -> Step:
    """1M users, 200k items, dim 64, batch 4096."""
    data = dataset(pairs(1_000_000, 200_000, 32 * 4096), 4096)
    return training(TwoTower(1_000_000, 200_000, 64), optimizer, data)


def tutorial() -> Step:
    """The sizes of the basic_retrieval tutorial."""
    data = dataset(pairs(943, 1682, 8 * 8192), 8192)
    return training(TwoTower(943, 1682, 32), tf.keras.optimizers.Adagrad(0.1), data)


def evaluation(*, streaming: bool) -> Step:
    """20k queries against 1682 candidates, as `Model.evaluate` does it."""
    random = np.random.default_rng(2)
    candidates = tf.constant(random.standard_normal((1682, 32), dtype=np.float32))
    queries = random.standard_normal((20_000, 32), dtype=np.float32)
    own = tf.gather(candidates, random.integers(0, 1682, 20_000))
    batches = tf.data.Dataset.from_tensor_slices(candidates).batch(128)
    index = batches if streaming else tfrs.layers.factorized_top_k.BruteForce().index_from_dataset(batches)
    metric = tfrs.metrics.FactorizedTopK(candidates=index)

    @tf.function
    def update(query: tf.Tensor, candidate: tf.Tensor) -> None:
        metric.update_state(query, candidate)

    parts = [
        (tf.constant(queries[first : first + 4096]), own[first : first + 4096])
        for first in range(0, 20_000, 4096)
    ]

    def step() -> None:
        metric.reset_states()
        for query, candidate in parts:
            update(query, candidate)
        [float(value) for value in metric.result()]

    step()
    return step


class Features(tf.keras.layers.Layer):
    """26 tables of 100k rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = {f"{number:02}": tf.keras.layers.Embedding(100_000, 16) for number in range(26)}

    def call(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Look up each feature's rows."""
        return {name: table(features[name]) for name, table in self.tables.items()}


class Crosses(tf.keras.layers.Layer):
    """Three cross layers over all features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [tfrs.layers.feature_interaction.Cross() for _ in range(3)]

    def call(self, features: list[tf.Tensor]) -> tf.Tensor:
        """Cross the concatenated features with themselves."""
        first = value = tf.concat(features, axis=1)
        for layer in self.layers:
            value = layer(first, value)
        return value


def ranking(interaction: tf.keras.layers.Layer | None) -> Step:
    """26 features and 13 numbers, batch 4096; the task without metrics, as ours."""
    random = np.random.default_rng(3)
    count = 8 * 4096
    sparse = {f"{number:02}": random.integers(0, 100_000, count) for number in range(26)}
    dense = random.standard_normal((count, 13), dtype=np.float32)
    labels = random.integers(0, 2, count).astype(np.float32)
    loss = tf.keras.losses.BinaryCrossentropy(reduction=tf.keras.losses.Reduction.NONE)
    model = tfrs.experimental.models.Ranking(
        embedding_layer=Features(), feature_interaction=interaction, task=tfrs.tasks.Ranking(loss=loss)
    )
    data = dataset(({"dense_features": dense, "sparse_features": sparse}, labels), 4096)
    return training(model, tf.keras.optimizers.Adagrad(0.01), data)


if __name__ == "__main__":
    answer(
        {
            "adagrad": lambda: large(tf.keras.optimizers.Adagrad(0.1)),
            "adam": lambda: large(tf.keras.optimizers.Adam(0.001)),
            "tutorial": tutorial,
            "evaluation": lambda: evaluation(streaming=True),
            "evaluation_brute_force": lambda: evaluation(streaming=False),
            "dlrm": lambda: ranking(None),
            "dcn": lambda: ranking(Crosses()),
        }
    )
