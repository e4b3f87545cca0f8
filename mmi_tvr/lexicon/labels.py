"""Parsed sentences -> entities, actions and relations (`types.Labels`).

Entities are the lemmas of nouns, actions those of main verbs. Relations are triplets of lemmas (subject, verb, object);
a noun with a preposition, or a subject whose verb has one, gives (dog, on, grass) as well, as the paper's own example
has it; a verb without object and preposition gives (dog, bark, ""), so that who acts is said. Passive sentences are
read as active ones. Pronouns are not resolved, except relative ones ("a man who ..."): a subject that is one is left
empty, ("", fold, airplane).

Decision: words about the video itself are left out ("we see", "the video shows"): they would head every vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..types import Labels, Triplet
from .parsing import ParsedText
from .tree import AGENTS, FRAMES, NOUNS, OBJECTS, PASSIVE_SUBJECTS, SUBJECTS, Tree

T = TypeVar("T")

# Sides of a thing: "to the left of", "in front of" and "on top of" are prepositions of two words.
_SIDES = frozenset({"left", "right", "top", "bottom", "front", "back", "side", "middle", "center", "centre"})

_COPULA = "be"  # says nothing by itself, but how things stand: "the dog is on the grass"


def labels(parsed: ParsedText) -> Labels:
    """Return what a sentence says. One without a verb has no actions; an unparsed one has nothing at all."""
    tree = Tree(parsed)
    verbs = tree.verbs()
    entities = [token.lemma for token in parsed if token.part in NOUNS and token.lemma not in FRAMES]
    triplets = [triplet for verb in verbs for triplet in _verb_triplets(tree, verb)]
    triplets += [
        Triplet(token.lemma, preposition, thing)
        for place, token in enumerate(parsed)
        if token.part in NOUNS and token.lemma not in FRAMES | _SIDES
        for preposition, thing in _prepositions(tree, place)
    ]
    return Labels(
        _once(entities), _once(parsed[verb].lemma for verb in verbs if parsed[verb].lemma != _COPULA), _once(triplets)
    )


def union(sets: Iterable[Labels]) -> Labels:
    """Return all labels of several sentences: those of a video, from its captions."""
    held = list(sets)
    return Labels(
        _once(name for one in held for name in one.entities),
        _once(name for one in held for name in one.actions),
        _once(triplet for one in held for triplet in one.relations),
    )


def triplet_text(triplet: Triplet) -> str:
    """Return a triplet as a person reads it.

    >>> triplet_text(Triplet("dog", "bark", "")), triplet_text(Triplet("dog", "on", "grass"))
    ('dog bark', 'dog on grass')
    """
    return " ".join(part for part in triplet if part)


def _once(names: Iterable[T]) -> tuple[T, ...]:
    """Return the names without repetitions, in order."""
    return tuple(dict.fromkeys(names))


def _verb_triplets(tree: Tree, verb: int) -> Iterator[Triplet]:
    """Yield who does it to whom, and how the one who does it stands to what the verb's prepositions name."""
    subjects = [*tree.subjects(verb), *tree.objects_of(verb, AGENTS)]
    objects = [*tree.arguments(verb, OBJECTS), *tree.arguments(verb, PASSIVE_SUBJECTS)]
    if not tree.arguments(verb, SUBJECTS) and tree.is_reduced_passive(verb):
        objects.append(tree.tokens[verb].head)
    subject_names, object_names = tree.names(subjects), tree.names(objects)
    prepositional = list(_prepositions(tree, verb))
    lemma = tree.tokens[verb].lemma
    for subject in subject_names:
        yield from (Triplet(subject, preposition, thing) for preposition, thing in prepositional)
        if lemma == _COPULA:
            continue
        yield from (Triplet(subject, lemma, thing) for thing in object_names)
        if not object_names and not prepositional:
            yield Triplet(subject, lemma, "")
    if not subject_names and lemma != _COPULA:
        yield from (Triplet("", lemma, thing) for thing in object_names)


def _prepositions(tree: Tree, place: int) -> Iterator[tuple[str, str]]:
    """Yield (preposition, lemma of what it governs) below a word: ("on", "grass"), ("left of", "star")."""
    for side in tree.children(place, {"advmod", "acomp", "amod", "npadvmod", "attr"}):
        if tree.tokens[side].lemma in _SIDES:
            yield from (
                (f"{tree.tokens[side].lemma} {of}", name) for of, name in _prepositions(tree, side) if of == "of"
            )
    for preposition in tree.children(place, {"prep"}):
        for thing in tree.arguments(preposition, {"pobj"}):
            beyond = [deeper for deeper in _prepositions(tree, thing) if deeper[0] == "of"]
            if tree.tokens[thing].lemma in _SIDES and beyond:
                yield from ((f"{tree.tokens[thing].lemma} of", name) for _, name in beyond)
            elif tree.names([thing]) and tree.tokens[thing].lemma not in FRAMES:
                yield tree.tokens[preposition].lemma, tree.tokens[thing].lemma
