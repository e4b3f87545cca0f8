"""The lowest priority that a process can give itself: others go first, for processors and for disks."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress

_NICE = 19
_IOPRIO_SET = {  # number of the system call, which the C library does not offer
    "x86_64": 251, "i686": 289, "i386": 289, "aarch64": 30, "riscv64": 30, "loongarch64": 30, "armv7l": 314,
    "ppc64le": 273, "s390x": 282,
}  # fmt: skip
_WHO_PROCESS, _IDLE_CLASS, _CLASS_SHIFT = 1, 3, 13


def lower_priority() -> None:
    """Lower this process, and the threads and processes that it starts from now on, as far as the system can.

    SCHED_IDLE and the idle class of disks give it what nobody else needs.
    """
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)  # whatever it was
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = _IOPRIO_SET.get(platform.machine()) if platform.system() == "Linux" else None
    if number is not None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).syscall(number, _WHO_PROCESS, 0, _IDLE_CLASS << _CLASS_SHIFT)
