"""From a Pillow picture of any mode and colour space to plain RGB (sRGB, 8 bits, over black) of a size."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

_SPACES: dict[str, Literal["RGB", "L", "CMYK"]] = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# What white may be where the mode does not say: the least that holds the values.
_RANGES = (1.0, 255.0, 65535.0)


def as_standard(image: Image.Image, sides: tuple[int, int]) -> tuple[Image.Image, str | None]:
    """Return a loaded picture as RGB of `sides` (width, height), and what is odd about its colours.

    It is scaled in its own mode first, so that what follows costs little whatever the picture's size was. What is
    transparent shows black.
    """
    profile = image.info.get("icc_profile")
    white = 65535.0 if image.mode.startswith("I;16") else None
    image = _averageable(image)
    if image.size != sides:
        image = image.resize(sides, Image.Resampling.BILINEAR, reducing_gap=3.0)
    if image.mode in ("I", "F"):
        image = _eight_bits(image, white)
    elif image.mode in ("LA", "La", "PA", "RGBa", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    problem = None
    if image.mode == "LAB":
        image = ImageCms.applyTransform(image, _from_lab()) or image
    elif profile and image.mode in _SPACES.values():
        image, problem = _by_profile(image, profile)
    return image.convert("RGB"), problem


def _averageable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose numbers have means: no palette, no single bits, no colour that means transparent."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return image.convert("RGBA")
    if image.mode.startswith("I;16"):
        return image.convert("I")
    mode = {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB"}.get(image.mode, image.mode)
    return image if mode == image.mode else image.convert(mode)  # which would copy it


def _eight_bits(image: Image.Image, white: float | None) -> Image.Image:
    """A picture of deeper numbers in shades of grey: black is 0, and white as given, or the end of a usual range."""
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    most = float(values.max())
    white = white or next((end for end in _RANGES if most <= end), most)
    return Image.fromarray(np.round(255 * (values / white).clip(0, 1)).astype(np.uint8))


def _by_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """A picture of a colour profile as sRGB."""
    try:
        transform = _transform(profile, image.mode)
        if transform is None:
            return image, None
        return ImageCms.applyTransform(image, transform) or image, None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, "its colour profile cannot be read"


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns colours of a profile into sRGB; None where there is nothing to do, or it is of other modes."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _SPACES.get(source.profile.xcolor_space.strip()) != mode or "srgb" in _description(source):
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _description(profile: ImageCms.ImageCmsProfile) -> str:
    return (profile.profile.profile_description or "").lower()


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
