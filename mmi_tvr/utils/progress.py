"""How long work reports what it has done, and learns that it is to stop."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Follows long work, for example with bars. All three are called from one thread.

    This is also how long work is paused (`serve.indexing_job`, `watch.worker`): whoever follows it raises
    `utils.interruption.Interrupted` from one of the three, and the work ends there. So they are called where nothing
    that is not committed would be missed, and `advance(0)` between parts of a step that takes long.
    """

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of `total` steps; the one before it has ended."""
        ...

    def advance(self, steps: int = 1) -> None: ...

    def say(self, message: str) -> None:
        """Show a line that a person should see: who is waited for, what is being skipped."""
        ...


class Silent:
    """Progress that is shown to no one."""

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def say(self, message: str) -> None: ...
