"""Which file names mean a video, and which a picture."""

from __future__ import annotations

_SUFFIXES = "3g2 3gp asf avi dv f4v flv m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogm ogv rm rmvb ts vob webm wmv y4m"
_PICTURES = "arw avif bmp cr2 cr3 dng gif heic heif jpeg jpg jxl nef orf png raf rw2 tif tiff webp"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
PICTURE_SUFFIXES = frozenset(f".{name}" for name in _PICTURES.split())
