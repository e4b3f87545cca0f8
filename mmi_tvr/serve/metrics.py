"""What a service counts of itself, in the text format of Prometheus. Says nothing of what people look for."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_NAME = "mmi_tvr"


class ServiceMetrics:
    """Counters of requests and searches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._turns = 0
        self._search_buckets = [0] * (len(_BUCKETS) + 1)
        self._search_seconds = 0.0

    def count_request(self, route: str, status: int) -> None:
        """Count an answered request by its route (never by its address, which may hold what somebody looks for)."""
        with self._lock:
            self._requests[route, status] += 1

    def count_searches(self, seconds: Sequence[float]) -> None:
        """Count searches that were embedded together, by how long each took with its wait."""
        with self._lock:
            self._turns += 1
            for one in seconds:
                self._search_buckets[bisect_left(_BUCKETS, one)] += 1
                self._search_seconds += one

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return all metrics; `gauges` are numbers of the present moment by their names."""
        with self._lock:
            requests = sorted(self._requests.items())
            buckets, turns, seconds = list(self._search_buckets), self._turns, self._search_seconds
        lines = [f"# TYPE {_NAME}_requests_total counter"]
        lines += [
            f'{_NAME}_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in requests
        ]
        lines.append(f"# TYPE {_NAME}_search_seconds histogram")
        total = 0
        for limit, count in zip((*map(str, _BUCKETS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'{_NAME}_search_seconds_bucket{{le="{limit}"}} {total}')
        lines += [f"{_NAME}_search_seconds_sum {seconds:.6f}", f"{_NAME}_search_seconds_count {total}"]
        lines += [f"# TYPE {_NAME}_search_turns_total counter", f"{_NAME}_search_turns_total {turns}"]
        present = {"start_time_seconds": self._started, "resident_memory_bytes": _resident_memory(), **gauges}
        for name, value in present.items():
            lines += [f"# TYPE {_NAME}_{name} gauge", f"{_NAME}_{name} {value:.12g}"]
        return "\n".join(lines) + "\n"


def _resident_memory() -> int:
    """Return the bytes of memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
