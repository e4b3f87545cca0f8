"""Import every module of the package; with the base install alone, this shows that no module needs an extra."""

from __future__ import annotations

import importlib
import pkgutil

import mmi_tvr


def main() -> None:
    names = [module.name for module in pkgutil.walk_packages(mmi_tvr.__path__, "mmi_tvr.")]
    for name in names:
        importlib.import_module(name)
    print(f"{len(names)} modules import")


if __name__ == "__main__":
    main()
