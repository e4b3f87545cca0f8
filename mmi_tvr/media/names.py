"""Which file names mean a video, and which a picture."""

from __future__ import annotations

_SUFFIXES = "3g2 3gp asf avi dv f4v flv m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogm ogv rm rmvb ts vob webm wmv y4m"
_PICTURES = "avif avifs bmp gif heic heif hif jp2 jpeg jpg jxl png tif tiff webp"
_RAW = "3fr arw cr2 cr3 dng erf iiq kdc mef mos nef nrw orf pef raf rw2 rwl sr2 srw"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
RAW_SUFFIXES = frozenset(f".{name}" for name in _RAW.split())  # of photos as a camera's sensor saw them
PICTURE_SUFFIXES = frozenset(f".{name}" for name in _PICTURES.split()) | RAW_SUFFIXES
