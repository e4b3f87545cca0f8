"""Facets: the classes that a model reads off videos, as a search restricts itself by them and explains its hits with.

From which probability on a video counts as showing a class was measured of the model (`types.FacetCalibration`). Of a
model of which nobody measured that, it is one half, and no label explains a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import UsageError
from ..protocols import Model, ModelWithAttributes
from ..scoring.attributes import shared_labels
from ..types import Attributes, Facet, FacetCalibration, FacetSelection, Query, Where
from ..utils.names import nearest_names
from ..utils.wording import library_option
from .attributes import VideoAttributes
from .catalogue import Catalogue
from .report import FacetReport

_UNMEASURED = FacetCalibration(0.0, "")


def library_facets(catalogue: Catalogue, model: Model) -> LibraryFacets | None:
    """Return the facets of a library; None where its model reads nothing off videos."""
    if not isinstance(model, ModelWithAttributes) or not model.attribute_names():
        return None
    return LibraryFacets(catalogue, model)


class LibraryFacets:
    """The facets of an open catalogue (`protocols.AttributeSource`)."""

    def __init__(self, catalogue: Catalogue, model: ModelWithAttributes) -> None:
        """catalogue: of a library whose vectors the model made."""
        self._catalogue = catalogue
        self._attributes = VideoAttributes(catalogue)
        self._model = model
        self._names = model.attribute_names()
        self._calibration = model.facet_calibration()

    def report(self) -> FacetReport:
        """Return all facets that a video shows."""
        calibration = self._calibration or _UNMEASURED
        thresholds = {
            (level, name): calibration.threshold(level, name) for level, names in self._names.items() for name in names
        }
        counts = self._attributes.counts({key: chosen.threshold for key, chosen in thresholds.items()})
        facets = [Facet(*key, videos, thresholds[key]) for key, videos in counts.items() if videos]
        facets.sort(key=lambda facet: (-facet.videos, facet.name))
        return FacetReport(
            levels={level: tuple(facet for facet in facets if facet.level == level) for level in self._names},
            calibration=self._calibration,
            videos=len(self._catalogue.searchable()),
            missing=self._attributes.missing(),
        )

    def select(self, where: Where) -> FacetSelection:
        """Return the videos that show all of these classes. Capital letters make no difference.

        Raises UsageError for a level or class that the model does not know, and where nothing is known of the videos.
        """
        known = [(level, self._known(level, name)) for level, names in where.items() for name in sorted(names)]
        if self._attributes.missing() == len(self._catalogue.searchable()) > 0:
            folder = self._catalogue.path.parent
            raise UsageError(
                f"{folder}: was indexed before facets were stored; once more: "
                f"mmi-tvr index {library_option(folder)} --rebuild"
            )
        calibration, facets, videos = self._calibration or _UNMEASURED, [], None
        for level, name in known:
            chosen = calibration.threshold(level, name)
            numbers = self._attributes.videos(level, name, chosen.threshold)
            facets.append(Facet(level, name, len(numbers), chosen))
            videos = numbers if videos is None else videos & numbers
        return FacetSelection(videos or frozenset(), tuple(facets))

    def named(self, queries: Sequence[Query]) -> Sequence[Attributes]:
        """Return what each query names; nothing of a model of which nobody measured what is to be believed."""
        return self._model.query_attributes(queries) if self._calibration else [{}] * len(queries)

    def shared(self, query: Attributes, numbers: Iterable[int]) -> Mapping[int, Mapping[str, Sequence[str]]]:
        """Return number -> level -> labels of what a query names and a video shows, of those that have any."""
        if self._calibration is None or not query:
            return {}
        shown = self._attributes.of(numbers)
        return {number: shared_labels(query, video, self._calibration) for number, video in shown.items()}

    def _known(self, level: str, name: str) -> str:
        """Return a class as the model spells it."""
        if level not in self._names:
            raise UsageError(f"where: there is no level {level!r}; there are: {', '.join(self._names)}")
        names = {known.casefold(): known for known in self._names[level]}
        spelled = names.get(name.casefold())
        if spelled is None:
            elsewhere = [
                f"{other}={known}"
                for other, classes in self._names.items()
                for known in classes
                if known.casefold() == name.casefold()
            ]
            proposals = ", ".join(elsewhere + nearest_names(name.casefold(), names))
            option = library_option(self._catalogue.path.parent)
            hint = f"nearest: {proposals}" if proposals else f"mmi-tvr facets {option} lists those that there are"
            raise UsageError(f"where: no {level} is called {name!r}; {hint}")
        return spelled
