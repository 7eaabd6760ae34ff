"""Our side of the benchmark of a new index: one of them, timed.

    python -m ours.index_update ARTIFACT ITEMS OUT [--add]

Prints a line of JSON.
"""

import json
import sys
import time

from ours.memory import Peak, peak_bytes

from torchtowers.export.new_index import export_index

if __name__ == "__main__":
    artifact, items, out, *options = sys.argv[1:]
    started = time.perf_counter()
    with Peak() as peak:
        change = export_index(artifact, items, out, add=options == ["--add"])
    figures = {
        "seconds": time.perf_counter() - started,
        "items": change.items,
        "embedded": change.items - change.kept,
        "anonymous_bytes": peak.bytes,
        "resident_bytes": peak_bytes(),
    }
    print(json.dumps(figures))
