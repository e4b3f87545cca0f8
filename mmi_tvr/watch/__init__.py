"""Spare time: a library follows its folders, and works while nobody needs the machine (extra `watch`).

| file | what it does |
|---|---|
| `watcher.py` | the loop: what has changed, whether work may go on, one job at a time |
| `changes.py`, `folders.py` | which folders changed, and for how long they are quiet; events of the system |
| `conditions.py` | whether work may go on now, and why not: a class for each reason |
| `idle.py`, `power.py`, `processors.py` | what conditions ask: the desktop, the battery, the processors |
| `budget.py`, `cpu_time.py` | CPU seconds that were used, on disk; those of a process and its children |
| `job.py`, `worker.py` | the process that indexes, from outside and from inside; `priority.py`: how low it stands |
| `status.py` | one watcher a library, and what it says of itself to other processes |
| `units.py` | the systemd unit and the autostart file |
"""
