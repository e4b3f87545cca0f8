"""Pictures of wide colour and high dynamic range as a standard screen shows them.

Decision: tables of numpy rather than the conversion that swscale has for it, which takes three seconds to set up for
each file; most files need none of this.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from ..types import Pixels

Deep = NDArray[np.uint16]  # (H, W, 3)
Linear = NDArray[np.float32]  # light, where 1 is the white of a standard screen

_WHITE = 203.0  # cd/m2 of what is plain white in a picture of high dynamic range (ITU-R BT.2408)
_HLG_PEAK = 1000.0  # cd/m2 of the screen that HLG is graded for (ITU-R BT.2100)
_PQ_PEAK = 10_000.0  # cd/m2, the most that PQ can say (SMPTE ST 2084)
_KNEE = 0.7  # of the tone curve: what is darker stays as it is
_LEVELS = 1 << 16
_UNSPECIFIED = 2  # FFmpeg's number for it, of matrices, transfer characteristics and primaries alike
_SPC_BT709, _SPC_BT2020 = 1, 9  # FFmpeg's numbers of matrices
_KNOWN_MATRICES = frozenset({0, _SPC_BT709, _UNSPECIFIED, 4, 5, 6, 7, _SPC_BT2020})
_KNOWN_TRANSFERS = frozenset({1, _UNSPECIFIED, *range(4, 19)})
_KNOWN_PRIMARIES = frozenset({1, _UNSPECIFIED, *range(4, 13), 22})
_OF_PRIMARIES = frozenset({10, 12, 13, 14, 15})  # constant luminance, chromaticity-derived, ICtCp, IPT-C2
_PEAKS = {ColorTrc.SMPTE2084: _PQ_PEAK / _WHITE, ColorTrc.ARIB_STD_B67: _HLG_PEAK / _WHITE}
# To linear BT.709 from other primaries of the same white (ITU-R BT.2087; SMPTE EG 432-1).
_BT2020 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_P3 = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))
_TO_BT709 = {ColorPrimaries.BT2020: _BT2020, ColorPrimaries.SMPTE432: _P3}
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


def with_known_marks(frame: VideoFrame) -> VideoFrame:
    """Return the frame, marked with a matrix, a transfer characteristic and primaries that swscale knows.

    It refuses frames with others.

    Decision: BT.2020 with constant luminance, ICtCp and what is derived from the primaries is read as the plain matrix
    of the primaries, whose brightness is close; all else (YCgCo, numbers that are reserved) as if nothing were said.
    """
    if frame.colorspace in _OF_PRIMARIES:
        frame.colorspace = _SPC_BT2020 if frame.color_primaries == ColorPrimaries.BT2020 else _SPC_BT709
    elif frame.colorspace not in _KNOWN_MATRICES:
        frame.colorspace = _UNSPECIFIED
    if frame.color_trc not in _KNOWN_TRANSFERS:
        frame.color_trc = _UNSPECIFIED
    if frame.color_primaries not in _KNOWN_PRIMARIES:
        frame.color_primaries = _UNSPECIFIED
    return frame


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Return whether a frame that is marked so looks wrong when its numbers are shown as they are."""
    return transfer in _PEAKS or primaries in _TO_BT709


def to_standard(pixels: Deep, transfer: int, primaries: int) -> Pixels:
    """Return a picture of 16 bits a channel as a standard screen (BT.709, sRGB) shows it.

    Args:
        pixels: (H, W, 3), as encoded.
        transfer: FFmpeg's number of the transfer characteristic.
        primaries: FFmpeg's number of the primaries. Decision: high dynamic range without any has those of BT.2020.

    Returns:
        The picture (H, W, 3). Of high dynamic range, the plain white of 203 cd/m2 comes to 238 of 255, and what is
        brighter lies above it in its order.
    """
    light = _decoding(transfer)[pixels]
    if transfer == ColorTrc.ARIB_STD_B67:  # what the camera saw -> what its screen shows
        light *= (light @ _BT2020_LUMINANCE)[..., None] ** np.float32(0.2) * np.float32(_PEAKS[ColorTrc.ARIB_STD_B67])
    if transfer in _PEAKS and primaries not in (*_TO_BT709, ColorPrimaries.BT709):
        primaries = ColorPrimaries.BT2020
    if primaries in _TO_BT709:
        light = light @ np.array(_TO_BT709[ColorPrimaries(primaries)], np.float32).T
    if transfer in _PEAKS:
        light = _tone_mapped(light, _PEAKS[ColorTrc(transfer)])
    return _encoding()[(light.clip(0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)]


def _tone_mapped(light: Linear, peak: float) -> Linear:
    """Compress light of up to `peak` into 0..1 by the Moebius curve of FFmpeg's tonemap filter.

    The brightest channel follows the curve, and the others keep their proportion to it, so that hues stay.
    """
    brightest = light.max(axis=-1, keepdims=True)
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a)
    above = np.maximum(brightest, np.float32(_KNEE))
    return np.where(brightest > _KNEE, light * (scale * (above + a) / (above + b) / above), light).astype(np.float32)


@lru_cache(maxsize=3)
def _decoding(transfer: int) -> Linear:
    """Light for each encoded value: in whites of 203 cd/m2 for PQ, of the camera for HLG, of a screen for the rest."""
    code = np.linspace(0, 1, _LEVELS)
    if transfer == ColorTrc.SMPTE2084:
        power = code ** (32 / 2523)
        light = (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)
        return cast(Linear, (light * _PEAKS[ColorTrc.SMPTE2084]).astype(np.float32))
    if transfer == ColorTrc.ARIB_STD_B67:
        bright = (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return cast(Linear, np.where(code <= 0.5, code**2 / 3, bright).astype(np.float32))
    return cast(Linear, np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32))


@lru_cache(maxsize=1)
def _encoding() -> Pixels:
    """The 8-bit sRGB value of each level of light."""
    light = np.linspace(0, 1, _LEVELS)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return cast(Pixels, np.round(code * 255).astype(np.uint8))


def over_black(frame: VideoFrame) -> VideoFrame:
    """Return a frame whose transparency shows black behind it; one without transparency comes back as it is.

    Decision: colours are taken as not yet multiplied by alpha, which is so wherever a container or codec does not say
    otherwise. This comes before any scaling, because hidden colours would bleed into their neighbours.
    """
    depth = _alpha_bits(frame.format.name)
    if not depth:
        return frame
    deep = depth > 8
    whole = frame.reformat(format="rgba64le" if deep else "rgba").to_ndarray()
    most = 65535 if deep else 255
    composed = (whole[..., :3].astype(np.uint32) * whole[..., 3:] + most // 2) // most  # at most 65535 * 65535 + 32767
    if deep:
        opaque = VideoFrame.from_ndarray(composed.astype(np.uint16), format="rgb48le")
    else:
        opaque = VideoFrame.from_ndarray(composed.astype(np.uint8), format="rgb24")
    opaque.color_trc, opaque.color_primaries = frame.color_trc, frame.color_primaries
    return opaque


@lru_cache(maxsize=64)
def _alpha_bits(name: str) -> int:
    """Bits of the alpha channel of a pixel format, 0 where it has none."""
    pixel_format = VideoFormat(name)
    if pixel_format.has_palette:
        return 8
    return max((component.bits for component in pixel_format.components if component.is_alpha), default=0)
