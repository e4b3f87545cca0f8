"""Libraries in a process that forks.

The child has none of the parent's threads, and must not touch the databases that it has open. The parent forks between
searches, so that no thread is in the middle of one.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Protocol


class ForkedObject(Protocol):
    """What is told before and after a fork."""

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def renew_after_fork(self) -> None: ...


_objects: weakref.WeakSet[ForkedObject] = weakref.WeakSet()
_inherited: list[object] = []
_waiting: list[ForkedObject] = []


def register(instance: ForkedObject) -> None:
    """Have an object told of forks, as long as somebody holds it."""
    _objects.add(instance)


def leave_to_parent(opened: object) -> None:
    """Keep what a parent has open from being closed in its child: the files are the parent's."""
    _inherited.append(opened)


def _before_fork() -> None:
    objects = sorted(_objects, key=id)
    for instance in objects:
        instance.hold()
    _waiting.extend(objects)


def _after_fork_in_parent() -> None:
    while _waiting:
        _waiting.pop().release()


def _after_fork_in_child() -> None:
    while _waiting:
        _waiting.pop().renew_after_fork()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
