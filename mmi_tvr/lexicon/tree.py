"""A parsed sentence as a tree: who does what to whom, read off its dependencies."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .parsing import ParsedText

SUBJECTS = frozenset({"nsubj", "csubj"})
PASSIVE_SUBJECTS = frozenset({"nsubjpass", "csubjpass"})
AGENTS = frozenset({"agent"})
OBJECTS = frozenset({"dobj", "obj"})
_INHERITING = frozenset({"conj", "xcomp", "advcl"})  # a verb that depends so has the subject of the verb above
NOUNS = frozenset({"NOUN", "PROPN"})  # parts of speech
FRAMES = frozenset({"video", "clip", "footage", "we", "you"})  # who shows, or sees, what a caption is about
_FRAMING_VERBS = frozenset({"see", "show", "depict", "feature", "display", "watch"})
_RELATIVE = frozenset({"who", "that", "which", "whom"})


class Tree:
    """The words of one sentence, by their places."""

    def __init__(self, tokens: ParsedText) -> None:
        self.tokens = tokens
        self._children: list[list[int]] = [[] for _ in tokens]
        for place, token in enumerate(tokens):
            if token.head != place:
                self._children[token.head].append(place)

    def children(self, place: int, dependencies: Collection[str]) -> list[int]:
        """Return the words that depend on one in these ways."""
        return [child for child in self._children[place] if self.tokens[child].dependency in dependencies]

    def arguments(self, place: int, dependencies: Collection[str]) -> list[int]:
        """Return the words that depend on one in these ways, and those that are joined to them by "and" or "or"."""
        joined = []
        waiting = self.children(place, dependencies)
        while waiting:
            joined.append(waiting.pop(0))
            waiting += self.children(joined[-1], {"conj"})
        return joined

    def objects_of(self, place: int, dependencies: Collection[str]) -> list[int]:
        """Return what the prepositions that depend on a word in these ways govern."""
        return [thing for child in self.children(place, dependencies) for thing in self.arguments(child, {"pobj"})]

    def subjects(self, verb: int) -> list[int]:
        """Return who does what a verb says: its subject, else that of the verb that it is joined to, or the noun that
        it describes."""
        visited: set[int] = set()
        while verb not in visited:
            visited.add(verb)
            token = self.tokens[verb]
            if self.children(verb, PASSIVE_SUBJECTS):
                return []
            if subjects := self.arguments(verb, SUBJECTS):
                relative = self.tokens[subjects[0]].lemma in _RELATIVE and token.dependency == "relcl"
                return [token.head] if relative else subjects
            if token.dependency == "acl" and not self.is_reduced_passive(verb):
                return [token.head]
            if token.dependency not in _INHERITING:
                return []
            verb = token.head
        return []

    def verbs(self) -> list[int]:
        """Return the verbs that say what happens: main ones that do more than say that there is a video."""
        return [place for place in range(len(self.tokens)) if self._is_main_verb(place) and not self._is_framing(place)]

    def is_reduced_passive(self, verb: int) -> bool:
        """Return whether a verb describes a noun that suffers it: "a ball thrown by a man", not "a man throwing"."""
        token = self.tokens[verb]
        return token.dependency == "acl" and not token.text.lower().endswith("ing") and not self._is_infinitive(verb)

    def names(self, places: Iterable[int]) -> list[str]:
        """Return the lemmas of those words that are nouns."""
        return [self.tokens[place].lemma for place in places if self.tokens[place].part in NOUNS]

    def phrase(self, place: int, without: Collection[str]) -> tuple[int, ...]:
        """Return a word and all that depends on it, in order, without what depends on a word of it in these ways."""
        phrase, waiting = [], [place]
        while waiting:
            phrase.append(waiting.pop())
            waiting += [child for child in self._children[phrase[-1]] if self.tokens[child].dependency not in without]
        return tuple(sorted(phrase))

    def _is_infinitive(self, verb: int) -> bool:
        return any(self.tokens[child].lemma == "to" for child in self.children(verb, {"aux"}))

    def _is_main_verb(self, place: int) -> bool:
        """Whether a word is a verb that helps no other one; "is" may be one."""
        token = self.tokens[place]
        return token.part == "VERB" or (token.part == "AUX" and token.dependency not in ("aux", "auxpass"))

    def _is_framing(self, verb: int) -> bool:
        """Whether a verb only says that there is a video: "we see", "the video shows"."""
        subjects = {self.tokens[subject].lemma for subject in self.arguments(verb, SUBJECTS)}
        return self.tokens[verb].lemma in _FRAMING_VERBS and not subjects.isdisjoint(FRAMES)
