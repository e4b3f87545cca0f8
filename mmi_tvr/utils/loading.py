"""What is loaded late is loaded once, whichever threads come first.

Since Python 3.12 `functools.cached_property` runs again in every thread that comes before the first result, and
`functools.cache` always did. A tower would be loaded twice, and two threads that import transformers at the same time
fail: one may see the half of it that the other has imported. So late loading waits for one lock. One for all of it
(decision): what is loaded loads other things, and with several locks two threads could wait for each other.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

LOADING = threading.RLock()  # held while a model, or whatever is kept for later, is loaded


class late_property(functools.cached_property[T]):
    """An attribute that its function computes when it is first read, once for all threads. Later reads take no lock."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> late_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> late_property[T] | T:
        if instance is None:
            return self
        with LOADING:
            return super().__get__(instance, owner)


def loaded_once(load: Callable[[], T]) -> Callable[[], T]:
    """Return a function that calls `load` the first time, once for all threads, and returns its result ever after."""
    results: list[T] = []

    @functools.wraps(load)
    def loaded() -> T:
        if not results:
            with LOADING:
                if not results:
                    results.append(load())
        return results[0]

    return loaded
