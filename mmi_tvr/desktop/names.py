"""By what the service is known on the bus, to desktops, and to people in English and Chinese."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

BUS_NAME = "org.mmi_tvr.Search1"
OBJECT_PATH = "/org/mmi_tvr/Search1"
ERROR = f"{BUS_NAME}.Error"  # the beginning of the names of its errors


@dataclass(frozen=True, slots=True)
class DesktopLabels:
    """What people read."""

    title: str
    comment: str
    show_in_folder: str
    picture: str


ENGLISH = DesktopLabels(
    "Moments in videos", "Finds videos and pictures by what is to be seen in them", "Show in folder", "picture"
)
CHINESE = DesktopLabels("视频片段搜索", "按画面内容查找视频和图片", "在文件夹中显示", "图片")


def labels(environment: Mapping[str, str] = os.environ) -> DesktopLabels:
    """Return the labels in the language of a session.

    >>> labels({"LANG": "zh_CN.UTF-8"}).picture, labels({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}).picture
    ('图片', 'picture')
    """
    variables = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    language = next((environment[name] for name in variables if environment.get(name)), "")
    return CHINESE if language.lower().startswith("zh") else ENGLISH
