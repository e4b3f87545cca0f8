"""Loading without the bars, notes and deprecations of the libraries that load."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep what transformers, peft and bitsandbytes say while they load off the screen; a decorator, too.

    Errors come through, and so does what others warn of. Afterwards all settings are as before, and a program that
    chose another verbosity of transformers than the default has it meanwhile, too.
    """
    from transformers.utils import logging as transformers_logging

    quantisation = logging.getLogger("bitsandbytes")
    level, verbosity = quantisation.level, transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft|bitsandbytes")
        try:
            if level == logging.NOTSET:
                quantisation.setLevel(logging.ERROR)  # it warns of kernels that would be faster
            if verbosity == logging.WARNING:
                transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            if bars:
                transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            yield
        finally:
            quantisation.setLevel(level)
            transformers_logging.set_verbosity(verbosity)
            if bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
