"""The layout in which HGR and HANet publish features and annotations: `mmi_tvr.datasets.hgr` reads it.

files   its folders and annotation files
frames  the features of one split, a vector a frame
labels  HANet's labels of the training captions
"""

from __future__ import annotations

from .files import HgrFolder
from .frames import FrameFiles
from .labels import CaptionLabels

__all__ = ["CaptionLabels", "FrameFiles", "HgrFolder"]
