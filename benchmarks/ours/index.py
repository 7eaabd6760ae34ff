"""Searches with torchtowers' indexes; the works of benchmarks/index.py."""

import torch
from answering import Step, answer
from index_data import K, clustered, keep_found, plain

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.faiss_index import Faiss


def exact(batch: int) -> Step:
    """Top 100 of 1M, without structure."""
    candidates, queries = (torch.from_numpy(values) for values in plain())
    index = BruteForce(candidates)
    return lambda: index.search(queries[:batch], K)


def excluding(batch: int) -> Step:
    """The same, where each query excludes 200 candidates."""
    candidates, queries = (torch.from_numpy(values) for values in plain())
    index = BruteForce(candidates)
    exclude = torch.arange(200 * batch).reshape(batch, 200).tolist()
    return lambda: index.search(queries[:batch], K, exclude)


def read() -> Step:
    """Read the candidates once: what no exact search of one query can avoid."""
    candidates = torch.from_numpy(plain()[0])
    return candidates.sum


def approximate(batch: int) -> Step:
    """Top 100 of 1M around a thousand centres."""
    candidates, queries = (torch.from_numpy(values) for values in clustered())
    index = Faiss(candidates, probes=4, min_recall=0.999)
    keep_found("ours", index.search(queries, K).ids)
    return lambda: index.search(queries[:batch], K)


WORKS = {
    "exact_1": lambda: exact(1),
    "exact_32": lambda: exact(32),
    "excluding_1": lambda: excluding(1),
    "excluding_32": lambda: excluding(32),
    "read": read,
    "approximate_1": lambda: approximate(1),
    "approximate_32": lambda: approximate(32),
}

if __name__ == "__main__":
    answer(WORKS)
