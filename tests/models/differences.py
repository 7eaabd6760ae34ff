"""The golden cases that are deliberately not reproduced, all of them: what the original does wrong, and ours.

What ours does instead is tested where the other cases of the family are, and told in docs/from-tfrs.md.
"""

__all__ = ["DIFFERENT", "different"]

_AVERAGED = "Keras takes the examples of a 1-D batch for the outputs of one example and averages them first"
_FLAT_WEIGHTS = "TFRS fails on 1-D weights beside 1-D predictions; ours takes them"

DIFFERENT = {
    "factorized_topk_random_bruteforce_score_sw": "by rounding, own copies at places 2 and 10 are misses",
    "factorized_topk_random_streaming_score": "by rounding, an own copy at the first place counts as a miss",
    "factorized_topk_random_streaming_score_sw": "by rounding, an own copy at the first place is a miss",
    "krs_remove_accidental_hits": "Keras-RS adds 1e-40, so it removes nothing; ours removes them",
    "opt_sparse_keras_adam_lr0.01": "Keras' Adam moves every row in each step, which costs the whole table",
    "ranking_model_dcn_sample_weight_raises": _FLAT_WEIGHTS,
    "ranking_model_dlrm_no_concat_sample_weight_raises": _FLAT_WEIGHTS,
    "ranking_model_dlrm_sample_weight_raises": _FLAT_WEIGHTS,
    "ranking_task_bce_logits_flat_sw_raises": _FLAT_WEIGHTS,
    "ranking_task_bce_sum_flat": _AVERAGED,
    "ranking_task_bce_sum_flat_sw_raises": _FLAT_WEIGHTS,
    "ranking_task_default_bce_flat_sw_raises": _FLAT_WEIGHTS,
    "ranking_task_mse_flat_sw_raises": _FLAT_WEIGHTS,
    "ranking_task_mse_none_flat": _AVERAGED,
    "ranking_task_mse_none_flat_sw_raises": _FLAT_WEIGHTS,
    "retrieval_rah_string_ids": "ids are integers here; strings are numbered by the vocabulary",
    "retrieval_rah_without_ids_raises": "raises with a text of our own",
    "topk_bruteforce_exclusions_k_plus_e_gt_n_raises": "raises; ours gives a shorter answer",
    "topk_bruteforce_k_gt_n_raises": "raises; ours gives all candidates",
    "topk_exclusions_exhausted_returns_excluded": "excluded items come back; ours gives a shorter answer",
    "topk_exclusions_large_scores": "a penalty of 1e5 is no mask; ours never gives an excluded item",
    "topk_exclusions_on_temporary_raises": "a tf.function lets go of its layer; ours may be temporary",
    "topk_not_indexed_raises": "raises; ours takes the candidates at once, so there is no such state",
    "topk_streaming_no_incomplete_raises": "raises on demand; ours takes batches of any size",
}


def different(*prefixes: str) -> list[str]:
    """Name the cases that start with one of the prefixes."""
    return [name for name in DIFFERENT if name.startswith(prefixes)]
