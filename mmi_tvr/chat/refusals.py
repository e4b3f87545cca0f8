"""How models and servers say that they will not, or cannot: in a reply that looks like an answer, and in an error."""

from __future__ import annotations

import re

_CANNOT = r"(?:can['’]?t|cannot|can not|could not|couldn['’]t|(?:am|['’]m) (?:un|not )able to)"
_DO = (
    "(?:see|view|look|access|process|analy[sz]e|interpret|identify|recogni[sz]e|determine|answer|assist|help|provide|"
    "describe|comply|fulfil|watch|display|open|discuss|engage)"
)
_PICTURE = r"(?:image|picture|photo|video|visual)s?\b"
_SENT = r"(?:provided|attached|shared|uploaded|included|visible|here)"
# Decision: an answer is a refusal only where it begins as one, and says what it is that is refused or missing; "I
# cannot swim" and "there is no dog" may be true of a film.
_REFUSALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:i ?(?:['’]m|am) )?(?:very |so |truly )?(?:sorry|afraid|unfortunately|i apologi[sz]e|apologies)\b.{0,60}?"
        rf"(?:{_CANNOT}|unable|don['’]t|do not|won['’]t|not able)",
        rf"i ?{_CANNOT} (?:\w+ )?{_DO}\b",
        rf"i (?:don['’]t|do not) (?:see|have|find) (?:any|an?|the) (?:\w+ )?{_PICTURE}.{{0,20}}(?:{_SENT}|\bin|$|\.)",
        rf"(?:there (?:is|are|was|were)|it (?:looks|seems)).{{0,30}}(?:no|not|n['’]t)\b.{{0,25}}{_PICTURE}.{{0,20}}"
        rf"{_SENT}",
        r"(?:it (?:looks|seems) like )?you (?:haven['’]t|have not|didn['’]t|did not) "
        r"(?:provide|attach|share|upload|include)",
        rf"no {_PICTURE} (?:is|are|was|were|has|have|{_SENT})",
        r"please (?:provide|upload|share|attach|send)\b",
        r"as an? (?:ai|artificial|text|language|large)\b",
        r"(?:很|非常|十分)?(?:抱歉|对不起|不好意思)",
        r"(?:作为|我是)(?:一个|一名)?(?:ai|人工智能|大?语言模型|文本)",
        r"我?(?:无法|不能|没法|没办法)(?:查看|看到|看见|识别|回答|处理|协助|提供|访问|分析)",
        r"请您?(?:提供|上传)",
        r"[您你]?(?:没有|未)(?:提供|上传|看到|收到)(?:任何)?(?:图|照片|视频)",
    )
)
_TOO_LONG = r"context (?:length|size|window)|too (?:long|large|many tokens)|maximum\b.{0,40}tokens|exceed.{0,40}tokens"
_NO_PICTURES = r"multi-?modal|mmproj|\bvision\b|image_url|image inputs?\b|images? (?:is|are) not supported"
_TOO_MANY_PICTURES = r"at most \d+ image|too many images"
# What a server's message says, and what to do about it.
_ADVICE = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (_TOO_MANY_PICTURES, "a video is shown as several pictures: let the server take them"),
        (_NO_PICTURES, "it reads no pictures: name a model that does"),
        (
            _TOO_LONG,
            "fewer key images, or a longer context: mmi-tvr doctor --server URL says how long it is",
        ),
    )
)


def is_refusal(answer: str) -> bool:
    """Return whether a reply of one line says that there is no answer.

    >>> is_refusal("I'm sorry, but I can't see images."), is_refusal("抱歉，我无法查看图片。"), is_refusal("no dog")
    (True, True, False)
    """
    return any(pattern.match(answer) for pattern in _REFUSALS)


def advice(message: str) -> str:
    """Return what to do about an error, to be put behind a server's message; empty where it names no known one.

    >>> advice("tiny is not a multimodal model")
    ' (it reads no pictures: name a model that does)'
    """
    return next((f" ({text})" for pattern, text in _ADVICE if pattern.search(message)), "")


def is_too_long(message: str) -> bool:
    """Return whether a server's message says that a prompt is longer than what it reads.

    >>> is_too_long("This model's maximum context length is 2048 tokens."), is_too_long("unknown field: logprobs")
    (True, False)
    """
    return re.search(_TOO_LONG, message, re.IGNORECASE) is not None


def takes_no_pictures(message: str) -> bool:
    """Return whether a server's message says that its model reads no pictures, however many they are.

    >>> takes_no_pictures("tiny is not a multimodal model"), takes_no_pictures("At most 4 image(s) may be provided")
    (True, False)
    """
    return re.search(_NO_PICTURES, message, re.IGNORECASE) is not None and not takes_fewer_pictures(message)


def takes_fewer_pictures(message: str) -> bool:
    """Return whether a server's message says that there are too many pictures."""
    return re.search(_TOO_MANY_PICTURES, message, re.IGNORECASE) is not None
