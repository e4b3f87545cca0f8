"""Options of a training on persons. Kept apart from the batches, so that a settings file is checked without torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from ..plugins import BaseOptions

HANDLE = "p"  # of the person in a plain sentence
_WAYS = ("image", "text", "both")


class PersonOptions(BaseOptions):
    """Sentences with persons in them; the data set says who is where (`protocols.PersonDataset`)."""

    mix: dict[str, float] = Field(
        {"image": 0.6, "text": 0.2, "both": 0.2},
        description="shares of sentences in which a person is said by a face (image), a name (text), or both",
    )
    compound: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of batches of captions that say what a person does; the others say a person alone",
    )
    template: str = Field(f"an image of [{HANDLE}]", description="the sentence that says a person alone")
    faces: int = Field(1, ge=1, description="pictures of a person in a sentence")
    pictures: int = Field(32, ge=2, description="the first so many pictures of each person are described")
    same_picture: bool = Field(
        False, description="the face is of the picture that is to be found: to measure what that leak is worth"
    )

    @field_validator("mix")
    @classmethod
    def _shares(cls, mix: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(mix) - set(_WAYS)):
            raise ValueError(f"no way to say a person is called {unknown[0]!r}; there are: {', '.join(_WAYS)}")
        if min(mix.values(), default=0) < 0 or not 0 < sum(mix.values()) < float("inf"):
            raise ValueError("shares are 0 or more, and one is more than 0")
        return mix

    @field_validator("template")
    @classmethod
    def _has_the_handle(cls, template: str) -> str:
        if f"[{HANDLE}]" not in template:
            raise ValueError(f"a sentence with [{HANDLE}] where the person stands")
        return template
