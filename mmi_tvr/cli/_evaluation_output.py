"""The folder of `evaluate --output`: numbers first, pictures when nothing can be lost any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from ..errors import MissingExtra, UsageError
from ..evaluation import trec
from ..evaluation.query_report import QueryReport
from ..evaluation.report import Report
from ..evaluation.saved import REPORT
from ..protocols import Dataset, QueryDataset
from ..utils import files, strict_json
from ..utils.installation import require
from ._console import say

PAGE, HEAT_MAP = "report.html", "heatmap.png"
_REPORT_MARK = b'"inductive": true'  # stands near the start of every report.json
_MARKS = {REPORT: _REPORT_MARK, PAGE: files.PAGE_MARK, HEAT_MAP: files.PICTURE_MARK}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What an evaluation writes: the folder of the report, and that of TREC runs; `force`: over files of others."""

    folder: ReportFolder | None
    trec: Path | None
    force: bool

    def check(self, rerank: bool) -> None:
        """Raise UsageError, before the work, where the runs could not be written."""
        if self.trec is None:
            return
        if rerank:
            raise UsageError("--trec writes the scores of the search: leave out --rerank, which has none")
        trec.check_folder(self.trec, self.force)

    def write_runs(self, report: Report | QueryReport) -> None:
        """Write the TREC runs of a report by captions."""
        if self.trec is None:
            return
        assert isinstance(report, Report)
        details = report.details
        assert details is not None
        blocks = details.blocks()
        names = trec.TrecNames(details.caption_names(), [sample.id for sample in details.samples], report.model)
        trec.write_runs(self.trec, blocks, details.ground_truth, names, self.force)
        say(f"runs and qrels: {escape(str(self.trec))}")


class ReportFolder:
    """Where a report goes: report.json with every rank, report.html with failures or hits to look at, heatmap.png."""

    def __init__(self, path: Path, force: bool) -> None:
        """Check, before the work, that it can be written, and say where its pictures cannot be drawn.

        UsageError where files of those names are there that mmi-tvr did not write, unless `force`.
        """
        self.path, self.force = path, force
        files.check_folder(path)
        if path.is_dir():
            for name, mark in _MARKS.items():
                files.check_output(path / name, mark, force)
        try:
            require("matplotlib.figure", "plots")
            self._drawing = True
        except MissingExtra as error:
            self._drawing = False
            say(f"the report will have no heat map: {escape(str(error))}")

    def write(self, report: Report | QueryReport, document: Mapping[str, Any]) -> None:
        """Write report.json."""
        assert report.details is not None
        saved = {**document, "queries": report.details.as_dict()}
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(REPORT, strict_json.dumps(saved, indent=1).encode())

    def draw(self, report: Report | QueryReport, document: Mapping[str, Any], dataset: Dataset) -> None:
        """Write the page, and the heat map of captions."""
        from ..report import evaluation_page, heat_map, query_page

        title = f"{document['model']} on {document['config']['target']}"
        if isinstance(report, QueryReport):
            pictures = dataset.person_pictures() if isinstance(dataset, QueryDataset) else {}
            page = query_page(report, document["config"], title, pictures)
        else:
            heat = heat_map(report) if self._drawing else None
            if heat is not None:
                self._write(HEAT_MAP, heat)
            page = evaluation_page(report, document["config"], title, heat)
        self._write(PAGE, page.encode())
        say(f"report: {escape(str(self.path / PAGE))}")

    def _write(self, name: str, content: bytes) -> None:
        files.write_output(self.path / name, content, _MARKS[name], self.force)
