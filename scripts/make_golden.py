"""Put the golden run's numbers on record, after the bundled model was made anew: `make_golden.py`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mmi_tvr.cli._console import command

RECORD = Path(__file__).parent.parent / "tests" / "data" / "golden.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORD, help="another file than the tests'")
    args = parser.parse_args()
    from mmi_tvr import golden
    from mmi_tvr.files import write_atomically

    with tempfile.TemporaryDirectory() as folder:
        record = golden.run(*golden.parts(), golden.samples(Path(folder)))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, golden.dumps(record).encode())
    for side, numbers in record["metrics"].items():
        print(side, ", ".join(f"{name} {value:.2f}" for name, value in numbers.items()))
    print(args.output)


if __name__ == "__main__":
    with command():
        main()
