"""The English half of `negation`: words that exclude, and how far what they exclude reaches."""

from __future__ import annotations

import re

_MAX_WORDS = 8  # of one excluded part: what is longer is a story, not a thing
_MAX_BARE_WORDS = 4  # of one without an article or a place ("shirt knocks out his opponent")


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts), re.IGNORECASE)


_WEAR = "(?:wearing|holding|carrying|using|riding)"  # what is excluded behind these is a thing that can be seen
# What no picture shows, and what is an idiom behind "no" or "without".
_UNSEEN = (
    "sound|sounds|audio|music|narration|noise|voice|voices|voiceover|commentary|dialogue|dialog|talking|speech|words|"
    "subtitles|doubt|matter|longer|more|less|fewer|sooner|other|others|problem|problems|trouble|difficulty|difficulties|"
    "way|idea|wonder|big|time|means|end|choice|use|need|exit|entry|entrance|parking|smoking|swimming|trespassing|vacancy|"
    "look|fly|nonsense|hands|handed|hand|warning|hesitation|question|questions|fail|failure|exception|effort|success|"
    "luck|help|permission|reason|assistance|comment|avail|such|good|match|pain|gain|joke|kidding|thanks|further|so|score|"
    "goal|goals|control|interruption|fear|hitch|gravity|speed|purpose|weight|injury|injuries|indication|effect|effects|"
    "name|names|cause|border|borders|limit|limits|benefits|country|obstruction|foul|fouls|"
    "written|where|certain|much|touch|shake|one's|hit|any|all|it|them|him|her|you|me|us|that|this|being|having|getting"
)
_NOT_A_THING = _pattern(rf"(?:(?:an?|the|any|his|her|their|its)\s+)?(?:{_UNSEEN})\b")
_SIGN = _pattern(r"\S+(?:\s\S+)?\s+(?:sign|signs|zone|area|symbol|logo|policy|rule|law|song)\b")
_GERUND = _pattern(rf"(?!{_WEAR}\b)[a-z]{{2,}}ing\b(?!\s+(?:machine|pool|board|glasses|dress|suit)s?\b)")
_THING_IN_ING = _pattern(
    r"(?:anything|something|nothing|building|ceiling|ring|king|string|swing|wing|clothing|lightning|lighting|painting|",
    r"drawing|railing|spring|sling|wedding)s?\b",
)
_NEGATIVE = _pattern(r"\b(?:no|not|never|without|nothing|nobody|none|neither|nor|cannot)\b|n't\b")
_DENIED = _pattern(
    r"\b(?:not|never|with|with\s+or|or|and|nor|goes|go|going|yes|either|even|little|few|if|unless|until|because|when)\s*,?\s*$"
)
_FOREIGN = _pattern(
    r"\b(?:um|uma|os|com|em|na|nos|da|das|dos|un|una|el|los|las|que|y|del|il|di|che|est|le|les|der|die|und|ein|nie)\b"
)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|(?<!\w)'[^']*'(?!\w)|«[^»]*»")

# What joins an exclusion to the sentence.
_JOIN = r"(?:but|and|yet|though|although|while|where|in\s+which)"
_MARK = rf"\s*[,;.]\s*(?:{_JOIN}\s+)?"
_HAS = r"(?:has|have|had|having|shows?|showing|contains?|containing)\s+"
_THERE = rf"(?:there(?:\s+(?:is|are|was|were)|'s|’s)\s+|(?:it|that|which|who)\s+{_HAS})"
_CLAUSE = rf"(?:{_MARK}|\s+{_JOIN}\s+)(?:{_THERE})?(?:{_HAS})?"
_PHRASE = r"(?:^|(?<=\w)|\s*[,;.])\s*"
_NO_THING = r"no\s+(?!one\b)"
# Each takes in what joins it; what is excluded begins behind it.
_WITHOUT = _pattern(_PHRASE, rf"(?:\b{_JOIN}\s+)?\b(?:without|excluding)\s+(?:any\s+)?")
_WITH_NO = _pattern(_PHRASE, rf"(?:\b(?:but|and|yet)\s+)?\b(?:with\s+|{_HAS})(?:absolutely\s+)?", _NO_THING)
_NO = _pattern(_CLAUSE, _NO_THING)
_NO_CLAUSE = _pattern(r"\s+", _THERE, _NO_THING)
_NEITHER = _pattern(rf"(?:{_CLAUSE}|\s+with\s+)", r"neither\s+(?=[^,.;]*\bnor\b)")
_NOBODY = _pattern(rf"(?:{_CLAUSE}|\s+with\s+)", r"(?P<who>nothing|nobody|no[\s-]one)\b\s*")
_NOT = _pattern(
    r"(?:\s*[,;]\s*(?:(?:but|and|yet)\s+)?|\s+(?:but|and|yet)\s+)not\s+(?=(?:an?|the|any)\s)",
    r"|(?:\s+|\s*,\s*)(?:(?:but|and|yet)\s+)?(?:(?:that|who|which|he|she|it|they)\s+)?(?:(?:is|are)\s+)?",
    rf"not\s+(?={_WEAR}\s)",
)
_CUES = (_WITHOUT, _WITH_NO, _NO, _NO_CLAUSE, _NEITHER, _NOBODY, _NOT)

# Where an exclusion ends.
_CLAUSE_END = _pattern(
    r"\s*[,;:.!?()]|\s+(?:but|then|while|whilst|when|where|before|after|until|because|although|though|and\s+then|",
    r"and\s+(?:there|it|he|she|they)|as\s+(?:a|an|the|he|she|it|they))\b",
)
_AND_THING = _pattern(r"\s+and\s+(?=(?:an?|the|some|two|three|several)\s)")
_PLACE_OR_TIME = _pattern(
    r"\s+(?=(?:in|on|at|during|by|under|near|behind|along|from|through|over|against|inside|outside|next\s+to|beside|",
    r"around|is|are|was|were)\s)",
)
_TAIL = (  # what stands behind a thing, and says nothing more of it
    r"\s+(?:in\s+(?:it|sight|view|there|the\s+(?:picture|frame|video|shot|scene|image))|on\s+(?:it|screen|them)|there|"
    r"around|visible|present|at\s+all|whatsoever|anywhere|to\s+be\s+seen|(?:on|in|over|around|with)\s+(?:his|her|their|its)"
    r"\s+(?:feet|foot|heads?|hands?|faces?|hair|body|bodies|necks?|arms?)"
    r"|on(?=\s*(?:$|[,;.)]|and\b|is\b|are\b|\w+ing\b)))"
)
_EMPTY_TAIL = _pattern(_TAIL, "$")
_DROPPED = _pattern(_TAIL, r"(?!\w)")
_LIST = _pattern(r"[\w'-]+(?:\s[\w'-]+){0,3}(?:,\s*[\w'-]+(?:\s[\w'-]+){0,2}?)+,?\s+(?:or|nor)\s+(?=\w)")
_OR = _pattern(r"\s*,\s*(?:(?:or|nor)\s+)?|\s+(?:or|nor)\s+(?:any\s+|without\s+)?|\s+and\s+(?:no|without)\s+")
_ARTICLES = ("a", "an", "the", "any", "his", "her", "their", "its")
_TOKEN = re.compile(r"[\w'’-]+")
_BE = _pattern(r"(?:is|are|was|were|has|have)$")
_VERB = _pattern(r"(?<![suia])s$")  # behind one thing, a word in -s says what it does
_LINK = _pattern(r"\b(?:of|and|or|with)\s+$")
_ACTOR = _pattern(
    r"\b(?:people|persons?|m[ae]n|wom[ae]n|child|children|kids?|boys?|girls?|players?|crowds?|spectators|customers|",
    r"animals?|dogs?|cats?|birds?|cars?|one)\b",
)
_LONG = _pattern(rf"^(?:an?|the|any|his|her|their|its|some\w+|{_WEAR})\s|\s(?:in|on|at|with|of|near|behind|under)\s")
_NO_MORE = _pattern(
    r"(?:(?:but|else|special|about|like|other|cares?|knows?|believes?|wants?)\b|happens$)"
)  # nothing but, nothing happens
_WORD = re.compile(r"[^\W\d_]{2,}")
_THING = _pattern(r"(?:an?\s|[^\W\d_]{2,})")
_EMPTY = _pattern(
    r"\b(?:an?|the|some|any|there|is|are|was|were|it|this|that|these|those|video|clip|film|movie|scene|shot|footage|",
    r"picture|image|we|see|shows?|has|have|with|of|and|but|yet|in|which|where|something|anything)\b",
)
_PERSONS = {"nobody": "somebody", "no one": "somebody", "nothing": "something"}
_INDEFINITE = {"anyone": "people", "anybody": "people", "anything": ""}


def says_something(text: str) -> bool:
    """Return whether a sentence still names anything to look for."""
    return bool(_WORD.search(_EMPTY.sub(" ", text)))


def first_exclusion(text: str) -> tuple[str, list[str]] | None:
    """Return the sentence without its first exclusion, and what is excluded; None where nothing is, for sure."""
    opaque = _QUOTED.sub(lambda match: "\0" * len(match[0]), text)
    if _FOREIGN.search(opaque):
        return None
    cues = [match for cue in _CUES for match in cue.finditer(opaque)]
    for cue in sorted(cues, key=lambda match: (match.end(), match.start())):
        end = _end(opaque, cue)
        parts = _things(opaque[cue.end() : end], cue)
        if parts is not None and not _DENIED.search(opaque[: cue.start()]):
            dropped = _DROPPED.match(opaque, end)
            return _joined(text[: cue.start()], text[dropped.end() if dropped else end :]), parts
    return None


def _end(text: str, cue: re.Match[str]) -> int:
    """Return where what a cue excludes ends.

    Where and when of a thing behind "without" and "with no" is said of the whole ("a street without cars in the rain").
    """
    start = cue.end()
    listed = _LIST.match(text, start)
    patterns = [_CLAUSE_END]
    if cue.re in (_WITHOUT, _WITH_NO):
        patterns.append(_PLACE_OR_TIME)
    if cue.re is not _WITHOUT:
        patterns.append(_AND_THING)
    matches = [pattern.search(text, listed.end() if listed else start) for pattern in patterns]
    end = min((match.start() for match in matches if match), default=len(text))
    return end if cue.re is _NOBODY else start + _noun_length(text[start:end])


def _noun_length(words: str) -> int:
    """Return how long a thing is, from its start: it ends before what looks like the verb of the sentence."""
    tokens = list(_TOKEN.finditer(words))
    first = 1 + bool(re.match(rf"(?:{_WEAR})\s", words, re.IGNORECASE))
    article = tokens[first - 1][0].lower() if len(tokens) >= first else ""
    first += article in _ARTICLES
    for position in range(first, len(tokens)):
        word, before = tokens[position][0], words[: tokens[position].start()]
        acts = bool(_GERUND.match(word)) and not _THING_IN_ING.match(word) and not _ACTOR.search(before)
        if _BE.match(word) or acts or (article in ("a", "an") and _VERB.search(word) and not _LINK.search(before)):
            return tokens[position - 1].end()
    return len(words)


def _things(words: str, cue: re.Match[str]) -> list[str] | None:
    """Return each thing of what a cue excludes; None where it is no thing, or nothing that a picture shows."""
    words = words.strip()
    if cue.re is _NOBODY:
        who = _PERSONS[cue["who"].lower().replace("-", " ")]
        words = _EMPTY_TAIL.sub("", f" {words}").strip()
        if _NO_MORE.match(words):
            return None
        if not words:
            return ["people"] if who == "somebody" else None
        parts = [f"{who} {words}"]
    else:
        parts = [_EMPTY_TAIL.sub("", part).strip() for part in _OR.split(words)]
        parts = [_INDEFINITE.get(part.lower(), part) for part in parts]
    return parts if all(map(_is_thing, parts)) else None


def _is_thing(part: str) -> bool:
    if "\0" in part or (not _WORD.match(part) and not re.match(r"an?\s", part, re.IGNORECASE)):
        return False
    if len(part.split()) > _MAX_WORDS or _NEGATIVE.search(part) or _NOT_A_THING.match(part) or _SIGN.match(part):
        return False
    if len(part.split()) > _MAX_BARE_WORDS and not _LONG.search(part):
        return False
    return not _GERUND.match(part) or bool(_THING_IN_ING.match(part))


def _joined(before: str, after: str) -> str:
    """Return what is left of a sentence, without marks that join nothing any more."""
    before, after = before.rstrip(" ,;"), after.strip()
    after = re.sub(r"^(?:[,;]\s*)+(?:but|and)\s+(?=no\b|without\b|not\b)", ", but ", after)
    if not before:
        return after.lstrip(" ,;.")
    if after and after[0] in ",;.!?:()":
        return (before + after).rstrip(" ,;")
    return f"{before} {after}".rstrip(" ,;")
