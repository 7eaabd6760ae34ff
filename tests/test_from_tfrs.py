"""The migration page: every name on it is real, every name of TFRS and Keras-RS on it, every block runs."""

import contextlib
import importlib
import importlib.util
import io
import re
import warnings
from pathlib import Path

import pytest
import torch

from tests.models.differences import DIFFERENT

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "from-tfrs.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```\n+^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)

# Public names as `dir` gives them: tensorflow-recommenders 0.7.7 and keras-rs 0.4.0.
TFRS = [
    "Model",
    "examples.movielens.evaluate",
    "examples.movielens.sample_listwise",
    "experimental.layers.embedding.PartialTPUEmbedding",
    "experimental.models.Ranking",
    "experimental.optimizers.ClippyAdagrad",
    "experimental.optimizers.CompositeOptimizer",
    "experimental.optimizers.clippy_adagrad.shrink_by_references",
    "layers.blocks.MLP",
    "layers.dcn.Cross",
    "layers.embedding.TPUEmbedding",
    "layers.embedding.tpu_embedding_layer.translate_keras_optimizer",
    "layers.factorized_top_k.BruteForce",
    "layers.factorized_top_k.ScaNN",
    "layers.factorized_top_k.Streaming",
    "layers.factorized_top_k.TopK",
    "layers.feature_interaction.Cross",
    "layers.feature_interaction.DotInteraction",
    "layers.feature_interaction.MultiLayerDCN",
    "layers.feature_multiplexing.unified_embedding.UnifiedEmbedding",
    "layers.feature_multiplexing.unified_embedding.UnifiedEmbeddingConfig",
    "layers.loss.HardNegativeMining",
    "layers.loss.RemoveAccidentalHits",
    "layers.loss.SamplingProbablityCorrection",
    "metrics.Factorized",
    "metrics.FactorizedTopK",
    "tasks.Ranking",
    "tasks.Retrieval",
    "tasks.Task",
    "types.Activation",
]
KERAS_RS = [
    "layers.BruteForceRetrieval",
    "layers.DistributedEmbedding",
    "layers.DotInteraction",
    "layers.EmbedReduce",
    "layers.FeatureConfig",
    "layers.FeatureCross",
    "layers.HardNegativeMining",
    "layers.RemoveAccidentalHits",
    "layers.Retrieval",
    "layers.SamplingProbabilityCorrection",
    "layers.TableConfig",
    "losses.ListMLELoss",
    "losses.PairwiseHingeLoss",
    "losses.PairwiseLogisticLoss",
    "losses.PairwiseMeanSquaredError",
    "losses.PairwiseSoftZeroOneLoss",
    "metrics.DCG",
    "metrics.MeanAveragePrecision",
    "metrics.MeanReciprocalRank",
    "metrics.NDCG",
    "metrics.PrecisionAtK",
    "metrics.RecallAtK",
]

# What the page says of each golden case that is not reproduced.
EXPLAINED = {
    "topk_bruteforce_exclusions_k_plus_e_gt_n_raises": "k + exclusions may not exceed the candidates",
    "topk_bruteforce_k_gt_n_raises": "k above the number of candidates gives all (BruteForce raises there)",
    "topk_exclusions_exhausted_returns_excluded": "or when candidates run out, excluded ones come back",
    "topk_exclusions_large_scores": "there 1e5 is subtracted, so at large scores",
    "topk_exclusions_on_temporary_raises": "no graph that loses its layer",
    "topk_not_indexed_raises": "there is no index that is not indexed",
    "topk_streaming_no_incomplete_raises": "batches of any size, answers sorted",
    "factorized_topk_random_bruteforce_score_sw": "rounding makes no misses",
    "factorized_topk_random_streaming_score": "rounding makes no misses",
    "factorized_topk_random_streaming_score_sw": "rounding makes no misses",
    "ranking_model_dcn_sample_weight_raises": "weights may be `[batch]`, where TFRS fails",
    "ranking_model_dlrm_no_concat_sample_weight_raises": "weights may be `[batch]`, where TFRS fails",
    "ranking_model_dlrm_sample_weight_raises": "weights may be `[batch]`, where TFRS fails",
    "ranking_task_bce_sum_flat": "averaged before SUM or NONE reduce them",
    "ranking_task_mse_none_flat": "averaged before SUM or NONE reduce them",
    "ranking_task_bce_logits_flat_sw_raises": "`[batch]` fails beside `[batch]` predictions",
    "ranking_task_bce_sum_flat_sw_raises": "`[batch]` fails beside `[batch]` predictions",
    "ranking_task_default_bce_flat_sw_raises": "`[batch]` fails beside `[batch]` predictions",
    "ranking_task_mse_flat_sw_raises": "`[batch]` fails beside `[batch]` predictions",
    "ranking_task_mse_none_flat_sw_raises": "`[batch]` fails beside `[batch]` predictions",
    "krs_remove_accidental_hits": "adds 1e-40 where a large negative number is meant: a no-op",
    "retrieval_rah_string_ids": "number strings first",
    "retrieval_rah_without_ids_raises": "errors have texts of our own",
    "opt_sparse_keras_adam_lr0.01": "moves every row at each step",
}


def names(package: str) -> list[str]:
    """Give the dotted names of a package that stand on the page, in its code too."""
    return sorted(set(re.findall(rf"(?<![\w.]){package}(?:\.\w+)+", PAGE)))


def resolve(name: str) -> object:
    """Import what a dotted name names."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError as error:
            # Another module that is missing is no reason to look for an attribute.
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize(
    "name", [name for one in ("torchtowers", "torch", "torchmetrics") for name in names(one)]
)
def test_what_the_page_names_is_there(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.skipif(not importlib.util.find_spec("torchrec"), reason="torchrec is not installed")
def test_what_the_page_names_of_torchrec_is_there() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names("torchrec"):
            assert resolve(name) is not None


def test_there_are_names_to_look_for() -> None:
    assert len(names("torchtowers")) > 60
    assert len(names("torchrec")) > 8
    with pytest.raises(AttributeError):
        resolve("torchtowers.models.BruteForcer")
    with pytest.raises(ModuleNotFoundError):
        resolve("no_such_package.name")


@pytest.mark.parametrize("name", [f"tfrs.{n}" for n in TFRS] + [f"keras_rs.{n}" for n in KERAS_RS])
def test_every_name_of_theirs_begins_a_row_that_names_ours(name: str) -> None:
    rows = [line.split(" | ") for line in PROSE.splitlines() if line.startswith("| `")]
    (row,) = [cells for cells in rows if f"`{name}`" in cells[0]]
    assert "`" in row[1]


def test_the_page_takes_from_the_package_not_from_its_modules() -> None:
    assert not re.findall(r"torchtowers\.(?:data|models)\.(?:\w+\.\w+|\w+ import)", PAGE)


def test_each_difference_from_their_numbers_is_explained() -> None:
    assert DIFFERENT.keys() == EXPLAINED.keys(), "say on the page what differs, and name the sentence here"
    text = " ".join(PROSE.split())
    assert [phrase for phrase in EXPLAINED.values() if phrase not in text] == []


def test_every_block_is_followed_by_what_it_prints() -> None:
    assert len(BLOCK.findall(PAGE)) == PAGE.count("```python\n") >= 17


@pytest.mark.parametrize(("code", "shown"), BLOCK.findall(PAGE), ids=range(PAGE.count("```python\n")))
def test_a_block_prints_what_it_shows(
    code: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), torch.random.fork_rng(devices=[]):
        exec(compile(code, "from-tfrs.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == shown


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PROSE.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", PROSE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
