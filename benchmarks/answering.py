"""A measured process: prepares one piece of work, then times rounds of it on request, a line of JSON each.

Only the standard library is imported, since the peers' environment has none of ours.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

Step = Callable[[], object]


def answer(works: dict[str, Callable[[], Step]]) -> None:
    """Prepare the work that the command line names, and time `{"steps": n}` after each line asked for it.

    Args:
        works: By name, what prepares the work and gives its step.
    """
    # What a library prints on standard output must not come between the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    step = works[sys.argv[1]]()
    print(json.dumps({"ready": sys.argv[1]}), file=out, flush=True)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        started = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = (time.perf_counter() - started) / steps
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), file=out, flush=True)
