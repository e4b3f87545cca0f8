"""The HTML templates of this room; whatever they show of others is escaped, and nothing of it is invisible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from ..utils.printable import printable

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> Template:
    """Return a template of this folder."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("mmi_tvr.report", "."), autoescape=True, trim_blocks=True, finalize=_shown
    )
    environment.filters["printable"] = printable  # for names, where a line break is no layout
    return environment.get_template(name)


def _shown(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, keep="\n\t")
    return value
