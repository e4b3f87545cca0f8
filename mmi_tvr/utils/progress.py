"""How long work reports what it has done."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how long work goes on; whoever draws bars implements it. All three are called from one thread."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` steps starts; the one before it has ended."""
        ...

    def advance(self, steps: int = 1) -> None: ...

    def say(self, message: str) -> None:
        """A line that a person should see: who is waited for, what is being skipped."""
        ...


class Silent:
    """The progress that nobody watches."""

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def say(self, message: str) -> None: ...
