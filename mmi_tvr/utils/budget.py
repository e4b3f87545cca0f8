"""What one query may spend on language models: calls, tokens and seconds, counted wherever the calls are made.

Decision: the budget of a query is ambient. Whoever calls a model asks `current()`, so answerers, judges and writers of
paraphrases count in the same one, and an implementation that knows nothing of budgets still works. Budgets nest: what
is spent in an inner one is spent in those around it.

    with spending(BudgetLimits(seconds=60)) as budget:   # at the door
        current().begin()                          # before a call
        ...                                        # which lasts current().remaining() seconds at most
        current().add(tokens=123)                  # after it
    budget.usage.as_dict()
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..errors import AnswerError


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The most that may be spent; None: any amount. For messages: the `section` of the settings that the limits stand
    in, and which `part` (0..1) of those they are."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    section: str = "budget"
    part: float = 1.0

    def share(self, part: float) -> BudgetLimits:
        """Return a part (0..1) of these limits, at least one call and one token of a limited number.

        >>> BudgetLimits(calls=10, seconds=60.0).share(0.75)
        BudgetLimits(calls=7, tokens=None, seconds=45.0, section='budget', part=0.75)
        """
        return BudgetLimits(
            None if self.calls is None else max(1, int(self.calls * part)),
            None if self.tokens is None else max(1, int(self.tokens * part)),
            None if self.seconds is None else self.seconds * part,
            self.section,
            self.part * part,
        )

    def setting(self, name: str) -> str:
        """Return the setting that a limit comes from, with the share of it, for a message."""
        setting = f"{self.section}.{name}"
        return setting if self.part == 1 else f"{self.part:.0%} of {setting}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent: calls of a model, tokens that it read and wrote, seconds, and answers that were known before."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        seconds = self.seconds + other.seconds
        return Usage(self.calls + other.calls, self.tokens + other.tokens, seconds, self.cached + other.cached)

    def as_dict(self) -> dict[str, float]:
        """Return plain values for JSON (a documented contract: `usage` of a search)."""
        return {"calls": self.calls, "tokens": self.tokens, "seconds": round(self.seconds, 3), "cached": self.cached}


class Budget:
    """Limits, and what of them is spent; safe to use from several threads.

    Calls are counted when they start, so there are never more than allowed. Tokens are known when a call ends, so those
    of the calls that are under way then may go beyond the limit.
    """

    def __init__(self, limits: BudgetLimits | None = None, outer: Budget | None = None) -> None:
        self.limits = limits or BudgetLimits()
        self._outer = outer
        self._lock: threading.RLock = outer._lock if outer else threading.RLock()
        self._started = time.monotonic()
        self._calls = self._tokens = self._cached = 0

    def begin(self) -> None:
        """Count a call that starts now. Raises AnswerError where none may."""
        if not self.take(1):
            raise AnswerError(self.shortage)

    def take(self, calls: int) -> int:
        """Return how many of these calls may start now, and count them. Where it is not all, `shortage` says why."""
        with self._lock:
            allowed = min(calls, *(budget._calls_left() for budget in self._all()))
            for budget in self._all():
                budget._calls += allowed
        return allowed

    def add(self, tokens: int = 0, cached: int = 0) -> None:
        """Count the tokens of a call that ended, and answers that needed none."""
        with self._lock:
            for budget in self._all():
                budget._tokens += tokens
                budget._cached += cached

    def remaining(self) -> float:
        """Return the seconds that are left, 0 at least; infinity where they are not limited."""
        return min(budget._seconds_left() for budget in self._all())

    @property
    def shortage(self) -> str:
        """Why no further call may start; empty where one may."""
        with self._lock:
            return next(filter(None, (budget._spent() for budget in self._all())), "")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the seconds of this block count for nothing: those in which a model is loaded."""
        before = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                for budget in self._all():
                    budget._started += time.monotonic() - before

    @property
    def usage(self) -> Usage:
        with self._lock:
            return Usage(self._calls, self._tokens, time.monotonic() - self._started, self._cached)

    def _all(self) -> Iterator[Budget]:
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget._outer

    def _calls_left(self) -> int:
        if self._spent():
            return 0
        return 1 << 30 if self.limits.calls is None else self.limits.calls - self._calls

    def _seconds_left(self) -> float:
        if self.limits.seconds is None:
            return math.inf
        return max(0.0, self._started + self.limits.seconds - time.monotonic())

    def _spent(self) -> str:
        limits = self.limits
        if limits.seconds is not None and self._seconds_left() <= 0:
            return f"this query has spent its {limits.seconds:g} seconds ({limits.setting('seconds')})"
        if limits.calls is not None and self._calls >= limits.calls:
            return f"this query has spent its {limits.calls:,} calls ({limits.setting('calls')})"
        if limits.tokens is not None and self._tokens >= limits.tokens:
            return f"this query has spent its {limits.tokens:,} tokens ({limits.setting('tokens')})"
        return ""


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def current() -> Budget:
    """Return the budget of what runs now; one without limits where nobody set any.

    A thread that is started meanwhile does not know it: take it along.
    """
    return _current.get() or Budget()


@contextmanager
def spending(limits: BudgetLimits | None = None) -> Iterator[Budget]:
    """Yield a budget that holds within the block, inside the one that held before."""
    budget = Budget(limits, _current.get())
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)
