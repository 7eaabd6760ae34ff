"""Asks a served model over REST and gRPC, and compares the answers with the artifact's own.

    python probe.py ARTIFACT NAME '{"user_id": "196"}' --state STATE

Needs no TorchServe for the second: the artifact answers from ONNX Runtime in this process.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from torchtowers.handlers import CandidateRanker, Recommender, TowersError, TwoStageRecommender
from torchtowers.handlers.combined_signature import CombinedSignature, read_signature
from torchtowers.serving import Client

_TOLERANCE = 1e-5


def main() -> int:
    """Print the answer; the exit code is 1 where the three are not the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("name")
    parser.add_argument("request", type=json.loads)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()
    try:
        with Client.from_state(given.state) as client:
            over_rest, over_grpc = (
                client.predict(given.name, given.request, grpc=grpc) for grpc in (False, True)
            )
        own = answer_of(given.artifact, given.request)
    except TowersError as error:
        print(f"probe.py: {error}", file=sys.stderr)
        return 1
    print(json.dumps(over_rest))
    if over_rest != over_grpc:
        print(f"probe.py: REST and gRPC do not agree; over gRPC: {json.dumps(over_grpc)}", file=sys.stderr)
        return 1
    if not own["items"] or not is_same(over_rest, own):
        print(f"probe.py: the artifact itself answers {json.dumps(own)}", file=sys.stderr)
        return 1
    return 0


def answer_of(artifact: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Give what the artifact answers, without a server."""
    signature = read_signature(artifact)
    if isinstance(signature, CombinedSignature):
        return TwoStageRecommender.load(artifact, runtime="onnx").recommend(request)
    if signature.kind == "ranking":
        return CandidateRanker.load(artifact, runtime="onnx").rank(request)
    return Recommender.load(artifact, runtime="onnx").recommend(request)


def is_same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Tell whether two answers have the same items in the same order, and the scores but for rounding."""
    return one["items"] == two["items"] and all(
        math.isclose(first, second, rel_tol=0, abs_tol=_TOLERANCE)
        for first, second in zip(one["scores"], two["scores"], strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
