"""The service of a desktop's search box, on a bus of its own: CPU seconds until it answers, until its model is loaded,
and of a sentence that is new or was searched before, and its peak memory. Linux alone; needs dbus-run-session."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType

from mmi_tvr import plugins
from mmi_tvr.desktop.connection import SessionBus
from mmi_tvr.desktop.names import BUS_NAME, OBJECT_PATH
from mmi_tvr.library import Library

from . import timing

_MODEL, _FILMS, _SENTENCES = "moving-shapes", 6, 100
_PATIENCE = 120.0  # seconds for the start, and for an answer
_WARM_UP = 1.5  # seconds after which the service has begun to load its model, called or not


def run(args: argparse.Namespace) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        dataset = plugins.build("datasets", "moving_shapes", {"root": root / "films", "count": _FILMS})
        dataset.generate()
        with Library(root / "library", _MODEL) as library:
            library.index([sample.video.path for sample in dataset.samples()])
        with _session_bus() as address:
            environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address, "OMP_NUM_THREADS": "1"}
            words = [sys.executable, "-m", "mmi_tvr.cli", "desktop", "run", "--library", str(root / "library")]
            with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as service:
                try:
                    sentences = [
                        f"a red circle moves left {number} times" for number in range(5 if args.small else _SENTENCES)
                    ]
                    yield from asyncio.run(_measured(address, service, sentences))
                finally:
                    service.terminate()


async def _measured(address: str, process: subprocess.Popen[bytes], sentences: list[str]) -> list[str]:
    """Return the lines about a service, by its process. RuntimeError where it does not come up."""
    service = process.pid
    bus = await SessionBus(address).connect()
    give_up = time.monotonic() + _PATIENCE
    try:
        while not await _call(bus, "org.freedesktop.DBus", "NameHasOwner", "s", BUS_NAME):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().decode())
            if time.monotonic() > give_up:
                raise RuntimeError(f"the service has no name on its bus after {_PATIENCE:g} s")
            await asyncio.sleep(0.05)
        await _call(bus, BUS_NAME, "Status")
        answering = timing.cpu_seconds_so_far(service)
        await asyncio.sleep(_WARM_UP)
        await _call(bus, BUS_NAME, "Search", "su", "a blue square", 5)
        loaded = timing.cpu_seconds_so_far(service)
        costs = []
        for typed in (sentences, sentences[-1:] * len(sentences)):  # the second: one sentence, again and again
            before = timing.cpu_seconds_so_far(service)
            for sentence in typed:
                await _call(bus, BUS_NAME, "Search", "su", sentence, 5)
            costs.append((timing.cpu_seconds_so_far(service) - before) / len(typed))
    finally:
        bus.disconnect()
    return [
        f"the service of a search box, {_FILMS} clips, {_MODEL}: CPU of one core",
        f"  until it answers           {answering:8.2f} s",
        f"  then, with the model       {loaded - answering:8.2f} s   peak {timing.peak(service):.0f} MB",
        f"  a sentence that is new     {1000 * costs[0]:8.1f} ms  mean of {len(sentences)}",
        f"  one searched before        {1000 * costs[1]:8.1f} ms  mean of {len(sentences)}",
    ]


async def _call(bus: SessionBus, name: str, member: str, signature: str = "", *body: Any) -> Any:
    """Return the first value that a call of the bus itself, or of the service, returns."""
    path = OBJECT_PATH if name == BUS_NAME else "/org/freedesktop/DBus"
    message = Message(destination=name, path=path, interface=name, member=member, signature=signature, body=[*body])
    reply = await asyncio.wait_for(bus.call(message), _PATIENCE)
    if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
        raise RuntimeError(f"{member}: {reply.body if reply else 'no answer'}")
    return reply.body[0]


@contextmanager
def _session_bus() -> Iterator[str]:
    """Yield the address of a bus that ends with the block."""
    program = "import os, sys; print(os.environ['DBUS_SESSION_BUS_ADDRESS'], flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["dbus-run-session", "--", sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as bus:
        assert bus.stdin is not None
        assert bus.stdout is not None
        try:
            yield bus.stdout.readline().strip()
        finally:
            bus.stdin.close()
            bus.wait(20)
