"""Whose the sightings of a library are: those of people with a name, and groups of the others that look like one."""

from __future__ import annotations

import numpy as np

from ...people.clustering import cluster
from ...people.naming import name_faces
from .store import PeopleStore


def recognise(store: PeopleStore, threshold: float) -> None:
    """Name all sightings by the people who are known now, and group the others; what somebody said by hand stays.

    The outcome depends on faces, sightings and threshold alone, so that it is the same whether people are added before
    or after their videos are indexed.

    threshold: cosine of two descriptors of one person, at least (`protocols.FaceEncoder.threshold`).
    """
    with store.transaction():  # else somebody who is added meanwhile by another process would lose their sightings
        _recognise(store, threshold)


def _recognise(store: PeopleStore, threshold: float) -> None:
    sightings = [one for seen in store.sightings().values() for one in seen if not one.by_hand]
    if not sightings:
        return
    sightings.sort(key=lambda one: one.number)
    descriptors = np.stack([one.descriptor for one in sightings])
    named: dict[str, list[tuple[int, float]]] = {}
    unnamed = []
    for place, naming in enumerate(name_faces(descriptors, store.known(), threshold)):
        if naming.name is None:
            unnamed.append(place)
        else:
            named.setdefault(naming.name, []).append((sightings[place].number, naming.similarity))
    groups: dict[int, list[int]] = {}
    for place, group in zip(unnamed, cluster(descriptors[unnamed], threshold), strict=True):
        groups.setdefault(int(group), []).append(sightings[place].number)
    store.regroup(named, [groups[group] for group in sorted(groups)])
