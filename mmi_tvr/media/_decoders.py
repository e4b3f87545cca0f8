"""The decoder of a film."""

from __future__ import annotations

from typing import cast

import av
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

# FFmpeg's own decoders of these leave out the transparency that WebM puts beside each frame.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# These look at what they shall leave out when they are opened only.
_SKIP_AS_OPENED = {"libdav1d"}


def may_change_skip(decoder: VideoCodecContext) -> bool:
    """Return whether a decoder obeys when other frames than before shall be left out."""
    return not decoder.is_open or decoder.codec.name not in _SKIP_AS_OPENED


def decoder_of(film: VideoStream, single_threaded: bool = False) -> VideoCodecContext:
    """Return what decodes a film: the stream's own decoder, unless another one sees more of it.

    It works in as many threads as the machine has processors, or in one.
    """
    name = _WITH_ALPHA.get(film.codec_context.name)
    if name is None or film.metadata.get("alpha_mode") != "1":
        decoder = film.codec_context
    else:
        try:
            decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
        except av.error.FFmpegError:  # an FFmpeg without libvpx: opaque pictures
            decoder = film.codec_context
    decoder.thread_type = ThreadType.AUTO
    decoder.thread_count = 1 if single_threaded else 0
    return decoder
