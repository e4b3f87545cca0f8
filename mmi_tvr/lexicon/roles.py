"""Role graphs: the verbs of a sentence, its noun phrases, and which role a phrase has for a verb.

Source: HGR (Chen et al. 2020) and HANet, whose graphs come from semantic role labelling; `read_hgr` reads their files
as they are. `role_graph` builds one from dependencies (decision: the labeller that they used is not maintained). The
roles are theirs, in their order, because the vector of a role goes by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..types import clean_text
from ..utils import textfiles
from .parsing import ParsedText
from .tree import AGENTS, FRAMES, NOUNS, OBJECTS, PASSIVE_SUBJECTS, SUBJECTS, Tree

VERB, NOUN = "V", "NOUN"
ROLES = (
    VERB, "ARG1", "ARG0", "ARG2", "ARG3", "ARG4", "ARGM-LOC", "ARGM-MNR", "ARGM-TMP", "ARGM-DIR", "ARGM-ADV",
    "ARGM-PRP", "ARGM-PRD", "ARGM-COM", "ARGM-MOD", NOUN,
)  # fmt: skip
_PREPOSITIONS = {
    **dict.fromkeys(("in", "on", "at", "near", "under", "above", "below", "behind", "beside", "inside"), "ARGM-LOC"),
    **dict.fromkeys(("over", "between", "among", "around", "by", "outside"), "ARGM-LOC"),
    **dict.fromkeys(("to", "into", "onto", "from", "through", "toward", "towards", "across", "off"), "ARGM-DIR"),
    **dict.fromkeys(("along", "up", "down", "past"), "ARGM-DIR"),
    **dict.fromkeys(("before", "after", "during", "until", "since"), "ARGM-TMP"),
    "with": "ARGM-COM",
    "for": "ARGM-PRP",
    "like": "ARGM-MNR",
    "as": "ARGM-PRD",
}
_ADVERBS = {
    **dict.fromkeys(("then", "first", "later", "finally", "again", "now", "next", "once", "afterwards"), "ARGM-TMP"),
    **dict.fromkeys(("left", "right", "up", "down", "away", "back", "forward", "forwards", "around"), "ARGM-DIR"),
    **dict.fromkeys(("backward", "backwards", "upward", "upwards", "downward", "downwards"), "ARGM-DIR"),
    **dict.fromkeys(("here", "there", "outside", "inside", "outdoors", "indoors", "together"), "ARGM-LOC"),
}
# Dependency on the verb -> role; prepositions and adverbs go by the word itself.
_DEPENDENCIES = {
    **dict.fromkeys(SUBJECTS, "ARG0"),
    **dict.fromkeys(AGENTS, "ARG0"),
    **dict.fromkeys(PASSIVE_SUBJECTS | OBJECTS, "ARG1"),
    "dative": "ARG2",
    "acomp": "ARGM-PRD",
    "attr": "ARGM-PRD",
    "oprd": "ARGM-PRD",
    "npadvmod": "ARGM-ADV",
}
# Clauses have verbs and phrases of their own; what is joined by "and" is a phrase of its own.
_NOT_OF_A_PHRASE = frozenset({"relcl", "acl", "advcl", "ccomp", "conj", "cc", "punct", "mark"})


class RoleNode(NamedTuple):
    """A verb or a phrase: its role, and the places of its words in the sentence."""

    role: str
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoleGraph:
    """The `nodes` of a sentence, and `edges` (number of a verb's node, number of an argument's)."""

    words: tuple[str, ...]
    nodes: tuple[RoleNode, ...]
    edges: tuple[tuple[int, int], ...]


class RoleArrays(NamedTuple):
    """A role graph for a network: V verbs, then N phrases, of a sentence whose first M words are read.

    `masks` (V + N, M) bool, which words a node has; `roles` (V + N,) int64, numbers of `ROLES`; `edges` (V + N, V + N)
    float32, whose rows add up to 1, or are 0 where a node has no neighbour or is none.
    """

    masks: NDArray[np.bool_]
    roles: NDArray[np.int64]
    edges: NDArray[np.float32]


def role_graph(parsed: ParsedText) -> RoleGraph:
    """Return the role graph of a parsed sentence.

    Nouns that are no argument of a verb are nodes, too, with the role NOUN: all of them where there is no verb. Words
    about the video itself are none ("we see"). A sentence that was not parsed has no nodes.
    """
    tree = Tree(parsed)
    builder = _Builder(tree)
    for verb in tree.verbs():
        builder.add_verb(verb)
    builder.add_other_nouns()
    return RoleGraph(tuple(token.text for token in parsed), tuple(builder.nodes), tuple(dict.fromkeys(builder.edges)))


def arrays(graph: RoleGraph, words: int = 30, verbs: int = 4, phrases: int = 6) -> RoleArrays:
    """Return a graph as arrays; verbs, phrases and words beyond the sizes, which are HANet's, are left out.

    Args:
        graph: of a sentence.
        words: M, that are read of it.
        verbs: V.
        phrases: N.
    """
    masks = np.zeros((verbs + phrases, words), dtype=np.bool_)
    roles = np.full(verbs + phrases, ROLES.index(NOUN), dtype=np.int64)
    roles[:verbs] = ROLES.index(VERB)
    rows: dict[int, int] = {}
    free = {True: iter(range(verbs)), False: iter(range(verbs, verbs + phrases))}
    for number, node in enumerate(graph.nodes):
        places = [place for place in node.words if place < words]
        row = next(free[node.role == VERB], None) if places else None
        if row is not None:
            rows[number] = row
            masks[row, places] = True
            roles[row] = ROLES.index(node.role)
    edges = np.zeros((verbs + phrases, verbs + phrases), dtype=np.float32)
    for verb, argument in graph.edges:
        if verb in rows and argument in rows:
            edges[rows[verb], rows[argument]] = edges[rows[argument], rows[verb]] = 1
    return RoleArrays(masks, roles, edges / edges.sum(axis=1, keepdims=True).clip(min=1))


def read_hgr(path: Path) -> Mapping[str, RoleGraph]:
    """Return the role graphs of `sent2rolegraph.augment.json` of HGR or HANet, by sentence as captions have it.

    Roles that are continued or referred to (C-ARG1, R-ARG0) are that role, and ones without a vector (ARGM-NEG) are
    NOUN, both as in HGR. Raises UsageError where the file is not of that layout.
    """
    graphs = {}
    for sentence, graph in textfiles.read_json_object(path, "role graphs by sentence").items():
        try:
            graphs[clean_text(sentence).strip()] = _hgr_graph(graph)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise UsageError(f"{path}: no role graph of HGR: {sentence[:60]!r} ({error!r})") from error
    return graphs


def _hgr_graph(graph: Any) -> RoleGraph:
    described, edges = graph
    words = tuple(map(str, described["ROOT"]["words"]))
    places = range(len(words))
    numbers: dict[str, int] = {}
    nodes: list[RoleNode] = []
    for name, node in described.items():
        if node["role"] != "ROOT":
            numbers[name] = len(nodes)
            nodes.append(RoleNode(_known_role(node["role"]), tuple(places[place] for place in node["spans"])))
    pairs = [(numbers[verb], numbers[argument]) for verb, argument, *_ in edges]
    return RoleGraph(words, tuple(nodes), tuple(dict.fromkeys(pairs)))


def _known_role(role: str) -> str:
    plain = role.removeprefix("C-").removeprefix("R-")
    return plain if plain in ROLES else NOUN


class _Builder:
    """Collects nodes: a phrase that several verbs have in the same role is one node."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.nodes: list[RoleNode] = []
        self.edges: list[tuple[int, int]] = []

    def add_verb(self, verb: int) -> None:
        """Add a verb with its particles, and its arguments."""
        particles = self._tree.children(verb, {"prt"})
        number = self._number(RoleNode(VERB, tuple(sorted([verb, *particles]))))
        subjects = self._tree.subjects(verb)
        arguments = [(subject, "ARG0") for subject in subjects]
        if self._tree.is_reduced_passive(verb):
            arguments.append((self._tree.tokens[verb].head, "ARG1"))
        for dependency, role in _DEPENDENCIES.items():
            if dependency not in SUBJECTS:
                arguments += [(place, role) for place in self._tree.arguments(verb, {dependency})]
        arguments += [(place, self._role_by_word(place)) for place in self._tree.children(verb, {"prep", "advmod"})]
        for place, role in sorted(arguments):
            words = self._tree.phrase(place, _NOT_OF_A_PHRASE)
            self.edges.append((number, self._number(RoleNode(role, words))))

    def add_other_nouns(self) -> None:
        """Add the noun phrases that no node has yet, in order."""
        covered = {place for node in self.nodes for place in node.words}
        for place, token in enumerate(self._tree.tokens):
            is_head = token.part in NOUNS and token.dependency != "compound" and token.lemma not in FRAMES
            if is_head and place not in covered:
                words = tuple(word for word in self._tree.phrase(place, _NOT_OF_A_PHRASE) if word not in covered)
                self._number(RoleNode(NOUN, words))
                covered.update(words)

    def _role_by_word(self, place: int) -> str:
        token = self._tree.tokens[place]
        if token.dependency == "prep":
            return _PREPOSITIONS.get(token.lemma, "ARGM-ADV")
        return _ADVERBS.get(token.lemma, "ARGM-MNR" if token.lemma.endswith("ly") else "ARGM-ADV")

    def _number(self, node: RoleNode) -> int:
        if node not in self.nodes:
            self.nodes.append(node)
        return self.nodes.index(node)
