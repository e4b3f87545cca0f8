"""Which file names mean a video, which a picture, and which a recording."""

from __future__ import annotations

from pathlib import PurePath

_SUFFIXES = "3g2 3gp asf avi dv f4v flv m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogm ogv rm rmvb ts vob webm wmv y4m"
_PICTURES = "avif avifs bmp gif heic heif hif jp2 jpeg jpg jxl png tif tiff webp"
_SOUNDS = (
    "3ga aac ac3 aif aifc aiff amr ape au awb caf dff dsf dts eac3 flac m4a m4b m4r mka mp2 mp3 mpc oga ogg opus ra "
    "spx tta voc w64 wav weba wma wv"
)
_RAW = "3fr arw cr2 cr3 dng erf iiq kdc mef mos nef nrw orf pef raf rw2 rwl sr2 srw"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
RAW_SUFFIXES = frozenset(f".{name}" for name in _RAW.split())  # of photos as a camera's sensor saw them
PICTURE_SUFFIXES = frozenset(f".{name}" for name in _PICTURES.split()) | RAW_SUFFIXES
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _SOUNDS.split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | PICTURE_SUFFIXES | AUDIO_SUFFIXES


def is_media(name: str) -> bool:
    """Return whether a file of this name may be a video, a picture or a recording.

    >>> is_media("IMG_1.JPG"), is_media("IMG_1.JPG.xmp"), is_media(".mp3")
    (True, False, False)
    """
    return PurePath(name).suffix.lower() in MEDIA_SUFFIXES
