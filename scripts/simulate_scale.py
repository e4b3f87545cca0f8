"""What 1,000 to a billion videos take: `python scripts/simulate_scale.py`; see docs/scale.md.

`--check` builds and searches indexes at three sizes here, and prints what the model had said.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mmi_tvr import config
from mmi_tvr.cli._console import command
from mmi_tvr.experiments import capacity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [10**power for power in range(3, 10)]
    parser.add_argument("videos", nargs="*", type=lambda text: int(float(text)), help="sizes, such as 2e6")
    fields = ", ".join(name for name in capacity.CollectionSpec.model_fields if name != "videos")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"change the collection: {fields}"
    )
    parser.add_argument(
        "--rate", action="append", default=[], metavar="NAME=VALUE", help="change a rate (see --sources)"
    )
    parser.add_argument("--sources", action="store_true", help="print the rates, and how each is known")
    parser.add_argument("--check", action="store_true", help="hold the model against measured runs at three sizes")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that --check runs")
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON")
    args = parser.parse_args()
    if args.sources:
        print(*capacity.sources(), sep="\n")
        return
    if args.check:
        small = {"sizes": (500, 1_000, 2_000), "probes": (200, 400)}
        checks = capacity.check(**small) if args.small else capacity.check()
        print(*capacity.comparisons(checks), sep="\n")
        return
    rates = capacity.rates(args.rate)
    predictions = []
    for videos in args.videos or sizes:
        collection = config.read(capacity.CollectionSpec, None, [*args.set, f"videos={videos}"])
        predictions.append(capacity.predict(collection, rates))
    if args.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=1))
    else:
        print(*capacity.tables(predictions), sep="\n")


if __name__ == "__main__":
    with command():
        main()
