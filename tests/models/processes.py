"""A function run by two real processes that talk over gloo."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed

__all__ = ["run_by_two"]


def run_by_two(function: Callable[[int, Path], None], folder: Path) -> None:
    """Call `function(rank, folder)` in two processes of one group; an error in either is raised here."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        members = [pool.submit(_member, rank, function, folder) for rank in range(2)]
        for member in members:
            member.result()


def _member(rank: int, function: Callable[[int, Path], None], folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        function(rank, folder)
    finally:
        torch.distributed.destroy_process_group()
