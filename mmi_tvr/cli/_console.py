"""What the commands share: where messages go, how a command ends, progress bars, options that many commands take."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.segment import Segment
from rich.text import Text

from .. import models
from ..config import AUTO, Section, Settings
from ..errors import MmiTvrError, MmiTvrWarning, UsageError
from ..utils import environment, files, interruption, strict_json
from ..utils.device import calm_threads
from ..utils.printable import printable
from ..utils.wording import counted, time_span
from ._terminal import Terminal, current_terminal

NOTHING_INDEXED = 3  # exit code of a search where there is nothing to search yet
_HOW_TO_GO_ON = "interrupted: nothing is lost; run the same command again to go on"
_WRONG_USE = cast(type[Exception], typer.BadParameter.__base__)  # UsageError of the parser that typer carries


class SafeConsole(Console):
    """Prints names and texts of others: what a terminal would obey, and what an encoding lacks, is spelled out.

    Lines stay lines here; a name that may hold a line break goes through `printable` on its way.
    """

    def __init__(self, *, stderr: bool = False, client: Terminal | None = None) -> None:
        """Args: whether it is the stream of errors, and the terminal of a client (None: this process's own)."""
        options: dict[str, Any] = {}
        if client is not None:
            stream = client.stderr if stderr else client.stdout
            width, height = client.size
            options = {"file": stream, "width": width, "height": height, "_environ": client.environment}
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, **options)  # :car: may be a name

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; texts are made safe before rich drops some of what it does not show."""
        safe = (printable(item, keep="\n") if isinstance(item, str) else item for item in objects)
        with files.naming("the output"):
            super().print(*safe, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of anything; what rich itself tells the terminal (bars) goes through."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, keep="\n"), style, control)


class CurrentConsole:
    """Prints to whom the command answers: this process's stream, or that of a client (`_terminal`)."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.process = SafeConsole(stderr=stderr)
        self._stderr = stderr

    @property
    def console(self) -> SafeConsole:
        client = current_terminal()
        return self.process if client is None else SafeConsole(stderr=self._stderr, client=client)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `SafeConsole` does."""
        self.console.print(*objects, **options)


_err = CurrentConsole(stderr=True)
out = CurrentConsole()


LibraryOption = Annotated[
    Path, typer.Option("--library", "-l", help="folder of the library", default_factory=environment.default_library)
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="NAME, NAME:CHECKPOINT, or a checkpoint's folder or hub name; default: auto"),
]
DownloadOption = Annotated[bool, typer.Option("--download", help="fetch the model's checkpoint if it is not here")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="settings file (YAML)")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="change one setting")]
MinScoreOption = Annotated[
    float | None, typer.Option("--min-score", hidden=True, help="former name of --min-relevance")
]
MIN_SCORE_NOTICE = "--min-score is called --min-relevance now; the former name goes with the next release"
WhereOption = Annotated[
    list[str] | None,
    typer.Option(metavar="LEVEL=NAME", help="only videos that show this (mmi-tvr facets lists what); may be repeated"),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="write over a file that is there and that mmi-tvr did not write")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout")]


def quiet_libraries() -> None:
    """Keep the libraries' own bars and notes off the screen; called before any of them is loaded."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def say(message: str) -> None:
    """Print one line for the person on stderr; rich markup."""
    _err.print(printable(message))


def stderr_is_terminal() -> bool:
    """Return whether a person may be watching stderr."""
    return _err.console.is_terminal


@contextmanager
def command() -> Iterator[None]:
    """Run a command: an error inside becomes one line on stderr and an exit code: 1 failed, 2 wrong use, 130
    interrupted. What Ctrl-C and SIGTERM do is explained in `utils.interruption`."""
    _open_closed_streams()
    quiet_libraries()
    calm_threads()
    _print_whatever_comes()
    try:
        with interruption.raise_on_sigterm(), _warnings_as_lines():
            yield
    except _WRONG_USE as error:
        _fail_to_parse(error)
    except MmiTvrError as error:
        fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # a full disk, a folder that may not be written
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except KeyboardInterrupt:
        say(_HOW_TO_GO_ON)
        sys.exit(interruption.EXIT_CODE)
    except interruption.Interrupted as stop:
        say(escape(stop.advice) or _HOW_TO_GO_ON)
        raise
    except SystemExit as stop:
        if stop.code == interruption.EXIT_CODE:  # typer makes it of Ctrl-C, too
            say(_HOW_TO_GO_ON)
        raise


def invoke(app: typer.Typer, name: str | None = None) -> NoReturn:
    """Run the command that the program's arguments name, and end the program with its exit code.

    name: of the program, in its help; by default as it was started.
    """
    sys.exit(app(prog_name=name, standalone_mode=False) or 0)  # standalone, typer draws boxes around errors


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print our own warnings as lines for the person; those of libraries go where they went."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if issubclass(category, MmiTvrWarning):
                say(f"[yellow]{escape(str(message))}[/]")
            else:
                show_others(message, category, *place, **options)

        warnings.simplefilter("always", MmiTvrWarning)
        warnings.showwarning = show
        yield


def _open_closed_streams() -> None:
    """Have standard streams that were closed (`<&-`, `>&-`) be empty.

    Their numbers must not go to the next file that is opened, a catalogue say: other libraries print to 1 and 2.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # workers have streams, too
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _print_whatever_comes() -> None:
    """Have characters that a stream's encoding lacks (LANG=C, an emoji) spelled out instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_alone(function: Callable[..., None]) -> None:
    """Run one command as a program of its own; scripts/ are such programs."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(function)
    with command():
        invoke(app)


def fail(message: str, code: int) -> NoReturn:
    """End the command with one line on stderr and an exit code."""
    say(f"[red]error:[/] {escape(message)}")
    sys.exit(code)


def _fail_to_parse(error: Any) -> NoReturn:
    """End the program for arguments that its parser refuses, with one line that names the help page to read."""
    if type(error).__name__ == "NoArgsIsHelpError":  # a group of commands without a command: its help was printed
        sys.exit(error.exit_code)
    message = error.format_message().rstrip(".")
    help_page = f"; help: {error.ctx.command_path} --help" if error.ctx else ""
    fail(f"{message[:1].lower()}{message[1:]}{help_page}", error.exit_code)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout (`utils.strict_json`)."""
    client = current_terminal()
    stdout = sys.stdout if client is None else client.stdout
    encoding = (stdout.encoding or "").lower().replace("-", "")
    with files.naming("the output"):
        stdout.write(strict_json.dumps(document, indent=2, ascii_only=encoding != "utf8") + "\n")
        stdout.flush()  # a full disk is our error, not the interpreter's


def print_line(document: Mapping[str, Any]) -> None:
    """Print one JSON document as a line on stdout, at once: for programs that follow long work."""
    client = current_terminal()
    stdout = sys.stdout if client is None else client.stdout
    with files.naming("the output"):
        stdout.write(strict_json.dumps(document, ascii_only=True) + "\n")
        stdout.flush()


def end_with_files(documents: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """End a command about files, each of which has a document: print these as one where that is asked for, and exit
    with 1 where a file has an `error`."""
    if as_json:
        print_json({"files": documents})
    failures = sum(document["error"] is not None for document in documents)
    if failures:
        say(f"{failures} of {counted(len(documents), 'file')} cannot be used")
        raise typer.Exit(1)


def chosen_model(text: str | None, settings: Settings, download: bool) -> Section | None:
    """Return what --model means, changed by the options of the settings' model; without it, the settings' model; None
    where that has no name, either.

    Where --model names one, the settings were read so (`config.load`). With --download the model's checkpoints are
    fetched, and before that each is named with its size.
    """
    if text is not None:
        if not download:
            return models.resolve(models.changed(models.section(text), settings.model))
        from ..hub import resolve

        with show_progress() as progress:
            return models.resolve(resolve(text, settings.model, download=True, progress=progress))
    if settings.model.name == AUTO:
        if download:
            raise UsageError("--download goes with --model or --config: they say what to fetch")
        return None
    if download:
        from ..encoders.download import fetch

        with show_progress() as progress:
            for checkpoint in models.checkpoints(settings.model):
                fetch(checkpoint, progress)
    return settings.model


def announce(model: str) -> None:
    """Say which model answers, where nothing better was chosen or is on this machine."""
    if model == models.FALLBACK:
        say(
            "[dim]model: label_bridge (offline: ImageNet classes and multilingual E5; weak on people and actions). "
            "A CLIP checkpoint is better: mmi-tvr models get recommended[/]"
        )


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


class ProgressBars:
    """Draws the stages of long work as bars with rate and remaining time (`utils.progress.Progress`)."""

    def __init__(self) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=_err.console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._task is not None:
            self._bars.stop()

    def begin(self, stage: str, total: int) -> None:
        """Start the bar of a stage of `total` steps."""
        self._bars.start()  # not before: without a bar, it would leave an empty line
        self._task = self._bars.add_task(stage, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar of the stage that began last."""
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def say(self, message: str) -> None:
        """Print a line above the bars, as it is."""
        self._bars.console.print(printable(message), markup=False)


class ProgressLines:
    """Prints where long work is, a line every so many seconds: for logs (`utils.progress.Progress`)."""

    def __init__(self, interval: float = 20.0) -> None:
        self._interval = interval
        self._stage, self._total, self._done = "", 0, 0
        self._printed_at, self._printed_done = time.monotonic(), 0

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *reason: object) -> None: ...

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of `total` steps."""
        self._stage, self._total, self._done = stage, total, 0
        self._printed_at, self._printed_done = time.monotonic(), 0

    def advance(self, steps: int = 1) -> None:
        """Count steps, and print a line where the last one is old enough.

        The rate is measured from the first steps of a stage on: they may be those of a run before, and what a stage
        needs to begin, such as a model that is loaded, lies before them.
        """
        is_start = steps > 0 and not self._done
        self._done += steps
        now = time.monotonic()
        seconds, news = now - self._printed_at, self._done - self._printed_done
        is_due = seconds >= self._interval and news > 0
        if is_due:
            rate = news / seconds
            left = time_span((self._total - self._done) / rate)
            pace = "" if is_start else f", {rate:.{1 if rate >= 1 else 2}f}/s, about {left} left"
            self.say(f"{self._stage}: {self._done:,} of {self._total:,}{pace}")
        if is_due or is_start:
            self._printed_at, self._printed_done = now, self._done

    def say(self, message: str) -> None:
        """Print a line, as it is."""
        say(escape(message))


def show_progress() -> ProgressBars | ProgressLines:
    """Return what shows progress here: bars in a terminal, lines elsewhere."""
    return ProgressBars() if stderr_is_terminal() else ProgressLines()
