"""Whether a watcher may work now, and why not: a small class for each reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..config import WatchSection
from ..library.pausing import current_pause
from .budget import DAY, HOUR, BudgetLedger
from .idle import IdleTime
from .power import Power
from .processors import Processors

_FREE_AGAIN = 0.75  # of a budget that was used up: work goes on where less than this is used
_PRESSURE = 0.3  # share of the last 10 s in which work waited, above which a machine without a desktop is busy


@dataclass(frozen=True, slots=True)
class Objection:
    """Why work may not go on now. What is `urgent` does not wait long for the end of a file that takes long."""

    reason: str
    urgent: bool = True


class Condition(Protocol):
    """One reason why work may have to wait."""

    def objection(self) -> Objection | None:
        """Return why work may not go on now; None: it may, as far as this condition goes."""
        ...


@dataclass(frozen=True, slots=True)
class NotPaused:
    """Work goes on where nobody paused the library."""

    folder: Path
    now: Callable[[], float] = time.time

    def objection(self) -> Objection | None:
        pause = current_pause(self.folder, self.now())
        if pause is None:
            return None
        until = "" if pause.until is None else f" until {datetime.fromtimestamp(pause.until):%H:%M}"
        return Objection(f"paused{until}")


class WithinBudget:
    """Work goes on until so many CPU seconds were used within an hour, and a day (0: any number).

    The file that is being worked on is finished, and what it takes beyond the budget is missing later. Once a budget is
    used up, work waits until a quarter of it is free again: each start loads the model.
    """

    def __init__(self, ledger: BudgetLedger, hour: float, day: float) -> None:
        self._ledger = ledger
        self._limits = (("hour", hour, HOUR), ("24 hours", day, DAY))
        self._is_used_up = False

    def objection(self) -> Objection | None:
        for name, limit, span in self._limits:
            used = self._ledger.used(span)
            if limit and used >= limit * (_FREE_AGAIN if self._is_used_up else 1):
                self._is_used_up = True
                return Objection(f"{used:,.0f} CPU s used in the last {name} (budget {limit:,.0f})", urgent=False)
        self._is_used_up = False
        return None


@dataclass(frozen=True, slots=True)
class OnMains:
    """Work goes on where the machine is not running on its battery."""

    power: Power

    def objection(self) -> Objection | None:
        return Objection("on battery") if self.power.on_battery() else None


@dataclass(frozen=True, slots=True)
class UserIsIdle:
    """Work goes on when nobody touched the machine for a while. Where no desktop says so, it goes by the share of time
    in which work waits for a processor."""

    idle_time: IdleTime
    processors: Processors
    seconds: float

    def objection(self) -> Objection | None:
        idle = self.idle_time.seconds()
        if idle is not None:
            if idle >= self.seconds:
                return None
            return Objection(f"somebody is there (idle for {idle:.0f} of {self.seconds:.0f} s)")
        pressure = self.processors.pressure()
        if pressure is None or pressure <= _PRESSURE:
            return None
        return Objection(f"work waits for the processors {pressure:.0%} of the time")


@dataclass(frozen=True, slots=True)
class LowLoad:
    """Work goes on where others leave enough of the processors."""

    processors: Processors
    share: float

    def objection(self) -> Objection | None:
        share = self.processors.share()
        if share is None or share <= self.share:
            return None
        return Objection(f"others use {share:.0%} of the processors")


def conditions_of(
    options: WatchSection, folder: Path, ledger: BudgetLedger, idle_time: IdleTime, power: Power
) -> list[Condition]:
    """Return the conditions that the options of a watcher ask for.

    Args:
        options: when and how much it works.
        folder: of the library.
        ledger: what it has used.
        idle_time: who knows how long nobody touched the machine.
        power: who knows whether it runs on its battery.
    """
    processors = Processors(lambda: ledger.total)
    conditions: list[Condition] = [NotPaused(folder)]
    if not options.battery:
        conditions.append(OnMains(power))
    if options.idle:
        conditions.append(UserIsIdle(idle_time, processors, options.idle))
    if options.load < 1:
        conditions.append(LowLoad(processors, options.load))
    conditions.append(WithinBudget(ledger, options.budget_hour, options.budget_day))  # behind what is urgent
    return conditions


def first_objection(conditions: Sequence[Condition]) -> Objection | None:
    """Return the first reason why work may not go on; None: it may."""
    return next((objection for condition in conditions if (objection := condition.objection()) is not None), None)
