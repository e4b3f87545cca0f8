"""The Chinese half of `negation`: 没有人的街道 is a street, and no people."""

from __future__ import annotations

import re

from ..utils.chinese import CHARACTERS

_MAX_CHARACTERS = 12  # of one excluded part
_MARKS = "，。；、！？,.;!?：:（）()"
_JOIN = "(?:但是|但|可是|可|却|而且|而|并且|并|且|也|又|里面|里|中|上面|上)"
_QUOTED = re.compile('“[^”]*”|「[^」]*」|『[^』]*』|《[^》]*》|"[^"]*"')
# 没有 and its like, where they say that something is not there.
_ABSENT = re.compile(
    rf"(?P<join>[{_MARKS}]?\s*(?:但是|但|可是|却|而且|而|并且|并|且|也)?)"
    r"(?<![有还从并非不是未])(?P<cue>没有(?:任何)?|不包括|不包含|不含|没(?=人(?!了)|戴|穿)|不(?=戴|穿))"
)
_INSTEAD = re.compile(rf"(?P<join>[{_MARKS}]?)(?P<cue>而不是|但不是)")
# Behind these, what stands up to 的 describes the noun: 一条没有人的街道, 在没有车的路上.
_BEFORE_NOUN = re.compile(rf"(?:^|[一二两三四五六七八九十几这那某每]\s*[{CHARACTERS}]|[在于到从向沿着]|[，。；,;]\s*)$")
# Behind these, a place or a sentence says that something is absent: 街上没有红色的汽车
_BEFORE_ABSENCE = re.compile(rf"(?:[里上下中内外边旁前后面处间{_MARKS}]|但是|但|可是|却|而且|而|并且|并|且|也)\s*$")
_CHARACTER = re.compile(f"[{CHARACTERS}A-Za-z]")
_ACTION = re.compile("(?:正)?在(?=[^的]*$)")  # 没穿裤子在跑步: what is done besides
_LIST = re.compile("、|和|或者|或|以及|跟|也没有|没有")
# What no picture shows, what did not succeed, comparisons, and idioms.
_NOT_A_THING = re.compile(
    "(?:什么|办法|关系|意思|问题|想到|声音|音乐|配音|旁白|对话|话说|时间|必要|可能|道理|用|事|比|一个不|不|完|到|成|能|打|踢|"
    "礼貌|经验|未来|意识|目的|尽头|终点|国籍|别的|其他|其它|"
    "(?:哭|笑|赢|输|进|动|关|开|亮|走|跑|坐|站|睡|吃|喝|洗|切|住)(?:了|着|过|完)?$|"
    "抓|搭|理|死|跳|掉|停|说|看|听|接|露|保护|任何不|他|她|我|你|它|这么|那么)"
)
_COMPARISON = re.compile("(?:高|大|快|多|好|长|重|强|漂亮)$")
_QUALITY = re.compile("(?:色|[大小高矮新旧老长短黑白红绿蓝黄紫粉])$")
_DENIED = re.compile("(?:不是|并非|有|还|从来|从|是不是|未必|不|除了|如果|要是|如何|怎么|怎样|为什么|为何)$")
_NEGATIVE = re.compile("没|不|无|非")
_EMPTY = re.compile("画面|视频|影片|镜头|这里|那里|里面|里|中|上|有|的|是|在|一|个|段|和|与|及|什么|东西|它|这|那")


def says_something(text: str) -> bool:
    """Return whether a sentence still names anything to look for."""
    return bool(_CHARACTER.search(_EMPTY.sub("", text)))


def first_exclusion(text: str) -> tuple[str, list[str]] | None:
    """Return the sentence without its first exclusion, and what is excluded; None where nothing is, for sure."""
    opaque = _QUOTED.sub(lambda match: "\0" * len(match[0]), text)
    for cue in [*_ABSENT.finditer(opaque), *_INSTEAD.finditer(opaque)]:
        before, start = opaque[: cue.start()], cue.end()
        if _DENIED.search(before) or (before.endswith("埋") and cue["cue"] == "没"):
            continue
        clause = re.split(f"[{_MARKS.replace('、', '')}\0]", opaque[start:])[0]
        described = _described(before + cue["join"], clause)
        if described is None and _is_unclear(before + cue["join"], clause):
            continue
        worn = cue["cue"] in ("不", "没")
        words = clause[:described] if described is not None else _ACTION.split(clause)[0] if worn else clause
        parts = [part.strip() for part in _LIST.split(words) if part.strip()]
        if not parts or not all(map(_is_thing, parts)):
            continue
        end = start + len(words)
        if described is not None:
            return text[: cue.start()] + cue["join"] + text[end + 1 :], parts
        return _joined(text[: cue.start()], text[end:]), parts
    return None


def _described(before: str, clause: str) -> int | None:
    """Return the length of what is excluded, where it describes a noun behind 的; None where it stands for itself."""
    head, mark, noun = clause.partition("的")
    if not mark or not noun.strip() or _QUALITY.search(head) or not _BEFORE_NOUN.search(before):
        return None
    return len(head)


def _is_unclear(before: str, clause: str) -> bool:
    """Return whether the noun behind 的 may be there, and only what stands before it absent: 骑没有刹车的自行车."""
    head, mark, noun = clause.partition("的")
    return bool(mark and noun.strip()) and not _QUALITY.search(head) and not _BEFORE_ABSENCE.search(before)


def _is_thing(part: str) -> bool:
    if len(part) > _MAX_CHARACTERS or _NOT_A_THING.match(part) or _NEGATIVE.search(part):
        return False
    return bool(_CHARACTER.search(part)) and not (len(part) > 1 and _COMPARISON.search(part))


def _joined(before: str, after: str) -> str:
    """Return what is left of a sentence, without marks that join nothing any more."""
    before, after = before.rstrip(f" {_MARKS}"), after.rstrip(f" {_MARKS}")
    return (before + after).strip(f" {_MARKS}")
