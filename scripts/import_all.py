"""Import every module of the package; with the base install alone, this shows which modules need an extra: those of
`serve/` that speak HTTP, those of `desktop/` that speak D-Bus, and no other."""

from __future__ import annotations

import importlib
import pkgutil

import mmi_tvr

# Room -> the packages of its extra.
_EXTRAS = {"serve": frozenset({"fastapi", "starlette", "uvicorn"}), "desktop": frozenset({"dbus_fast"})}


def main() -> None:
    names = [module.name for module in pkgutil.walk_packages(mmi_tvr.__path__, "mmi_tvr.")]
    left_out = 0
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS.get(name.split(".")[1], ()):
                raise
            left_out += 1
    print(f"{len(names) - left_out} modules import")


if __name__ == "__main__":
    main()
