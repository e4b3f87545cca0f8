"""A still picture as a video of one second, for data sets of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import MediaError, UnreadableFile
from ..types import Frames
from ._picture import bounded

SECONDS = 1.0


def read_still(path: Path, size: int) -> tuple[tuple[int, int], str, Frames]:
    """Return a picture's displayed width and height, its format, and its one frame, at 0:00.

    It is upright, and what shows through is black, as in `video`.

    Args:
        path: of the file.
        size: the shorter side in pixels; a smaller picture is not enlarged.

    Raises:
        MediaError: the file is no picture, or cut off.
        UnreadableFile: it cannot be read at all.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # here: most workers never see a still

    try:
        with Image.open(path) as opened:
            kind = str(opened.format)
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except UnidentifiedImageError as error:
        raise MediaError(path, "is no picture") from error
    except OSError as error:
        if error.errno is not None:
            raise UnreadableFile(path, error.strerror or str(error)) from error
        raise MediaError(path, "is cut off or damaged") from error
    except MemoryError:  # which the worker answers
        raise
    except Exception as error:  # whatever a damaged file makes of a format's reader: SyntaxError, RuntimeError, ...
        raise MediaError(path, "cannot be decoded as a picture") from error
    over_black = Image.alpha_composite(Image.new("RGBA", upright.size, (0, 0, 0, 255)), upright).convert("RGB")
    pixels = np.asarray(over_black.resize(bounded(*over_black.size, size), Image.Resampling.BILINEAR))
    return upright.size, kind, Frames(np.zeros(1), pixels[None].copy())
