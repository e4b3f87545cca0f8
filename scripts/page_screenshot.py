"""Make the picture of the page in README.md: a library of generated clips, in a browser of this machine.

.venv/bin/python scripts/page_screenshot.py [docs/page.webp]
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browsing import missing, opened_page, started_browser
from serving import served

from mmi_tvr import models
from mmi_tvr.datasets.moving_shapes import encode, example
from mmi_tvr.library import Library

QUERY = "first the red circle moves left, then the blue square grows"
TARGET = Path(__file__).parent.parent / "docs" / "page.webp"
VIEW = {"width": 1120, "height": 700}


def main(target: Path) -> None:
    """Write the picture. Ends the program with a line where there is no browser to make it in."""
    if reason := missing():
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "shapes")
        clips.mkdir()
        for name, spec in example().items():
            (clips / f"{name}.mp4").write_bytes(encode(spec, 240, 12))
        with Library(Path(folder, "library")) as library:
            library.index(clips, model=models.section("moving-shapes"))
            library.load()
            with (
                served(library) as client,
                started_browser() as browser,
                opened_page(browser, client.running.url, viewport=VIEW) as page,
            ):
                page.fill("#q", QUERY)
                page.wait_for_selector(".results[aria-busy=false] .open")
                end = time.monotonic() + 60
                while not page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)"):
                    assert time.monotonic() < end
                    page.wait_for_timeout(100)
                picture = page.screenshot()
    Image.open(io.BytesIO(picture)).save(target, quality=80, method=6)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
