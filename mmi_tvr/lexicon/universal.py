"""Universal Dependencies -> the dependencies of ClearNLP, which `tree` reads: verbs and prepositions stand above nouns.

"the dog is on the grass"   Universal: grass -> dog (nsubj), is (cop), on (case)
                            ClearNLP:  is -> dog (nsubj), on (prep) -> grass (pobj)
"""

from __future__ import annotations

from .parsing import ParsedText, Token

_NAMES = {
    "root": "ROOT",
    "nsubj:pass": "nsubjpass",
    "csubj:pass": "csubjpass",
    "aux:pass": "auxpass",
    "obj": "dobj",
    "iobj": "dative",
    "compound:prt": "prt",
    "nmod:poss": "poss",
    "acl:relcl": "relcl",
    "obl": "npadvmod",  # without a preposition: "last night"
    "nmod": "nmod",
}
_OBLIQUE = ("obl", "nmod")  # what a preposition governs
_CLAUSE = frozenset(
    {"nsubj", "csubj", "aux", "advmod", "mark", "punct", "cc", "conj", "advcl", "obl", "ccomp", "expl", "parataxis"}
)  # of a predicate, which a copula takes over


def translated(parsed: ParsedText) -> ParsedText:
    """Return a sentence with Universal Dependencies as one with those of ClearNLP; unknown ones stay as they are."""
    tokens = list(parsed)
    for place, token in enumerate(parsed):
        if token.dependency == "cop":
            _raise_copula(tokens, place)
    for place, token in enumerate(parsed):
        if token.dependency == tokens[place].dependency == "case":  # else something stands above it already
            _raise_preposition(tokens, place, parsed)
    return tuple(token._replace(dependency=_name(token.dependency)) for token in tokens)


def _raise_copula(tokens: list[Token], copula: int) -> None:
    """Put a copula above its predicate, with what belongs to the clause."""
    predicate = tokens[copula].head
    above = tokens[predicate]
    is_root = above.head == predicate
    for place, token in enumerate(tokens):
        belongs = token.dependency.partition(":")[0] in _CLAUSE or token.dependency == "cop"
        if token.head == predicate and place not in (predicate, copula) and belongs:
            tokens[place] = token._replace(head=copula)
    dependency = "attr" if above.part in ("NOUN", "PROPN", "PRON", "NUM") else "acomp"
    tokens[copula] = tokens[copula]._replace(
        part="AUX", dependency=above.dependency, head=copula if is_root else above.head
    )
    tokens[predicate] = above._replace(dependency=dependency, head=copula)


def _raise_preposition(tokens: list[Token], place: int, parsed: ParsedText) -> None:
    """Put a preposition above the noun that it marks, where the noun hung before. A possessive 's is none."""
    noun = tokens[place].head
    governed = tokens[noun]
    first = next(number for number, token in enumerate(parsed) if token.dependency == "case" and token.head == noun)
    if governed.dependency == "nmod:poss" or place != first or governed.head == noun:
        return
    is_agent = governed.dependency == "obl:agent" or (
        tokens[place].lemma == "by"
        and governed.dependency.partition(":")[0] in _OBLIQUE
        and any(token.head == governed.head and token.dependency.endswith(":pass") for token in parsed)
    )
    tokens[place] = tokens[place]._replace(dependency="agent" if is_agent else "prep", head=governed.head)
    tokens[noun] = governed._replace(dependency="pobj", head=place)


def _name(dependency: str) -> str:
    return _NAMES.get(dependency) or _NAMES.get(dependency.partition(":")[0]) or dependency.partition(":")[0]
