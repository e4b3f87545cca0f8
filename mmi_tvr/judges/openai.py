"""Any server judges that speaks OpenAI's completions, chat or plain (vLLM, llama.cpp, Ollama, the hosted ones).

What p is read from depends on the server, and stands in each judgement: see `chat.closed_questions`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..chat.answer_words import AnswerWords
from ..chat.client import ServerClient, ServerOptions
from ..chat.closed_questions import ClosedQuestionClient, ClosedQuestionOptions
from ..chat.content import TOKEN_CHARACTERS, Content, PictureEncoder, SentPictureOptions, around_pictures, quote
from ..chat.eyesight import BlindnessCheck
from ..errors import AnswerError, UsageError
from ..prompt_templates import VisualTemplate
from ..protocols import Model
from ..types import Judgement, ShownVideo, VideoInput
from ..utils.hashing import digest
from ..utils.loading import late_property
from ._common import SeeingJudgeOptions, show_error

_COLOUR_TOKENS = 48  # of a reply that names a colour


class Options(ServerOptions, ClosedQuestionOptions, SentPictureOptions, SeeingJudgeOptions):
    """Options of judging by a server."""


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> OpenaiJudge:
    """What runs on which device is the server's business."""
    return OpenaiJudge(options)


class OpenaiJudge:
    """Asks a server, several pairs at a time. The text skeleton comes first in a prompt, so that a server which caches
    prefixes reads it once.

    Raises ServerUnusable where no server is there, where it refuses the key or every question, or where it is not clear
    which model is to judge. What goes wrong later costs the pairs under way alone.
    """

    name = "openai"
    video_input: VideoInput = "pictures"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._model = ""
        self._unreachable = threading.Event()
        template = options.prompt_template
        self._template = template
        self._questions = ClosedQuestionClient(AnswerWords(template.positive, template.negative), options)

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        counts = Counter(videos)  # videos that answer alike are judged once
        distinct = list(counts)
        prompts = self._template.prompts(_quote, [text] * len(distinct), distinct)

        def advance_all(row: int) -> None:
            for _ in range(counts[distinct[row]]):
                advance()

        judged = dict(zip(distinct, self._ask_all(self._questions, prompts, advance_all), strict=True))
        return [judged[video] for video in videos]

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each video: see `protocols.SeeingJudge`. ServerUnusable where the model reads no
        pictures, UsageError where the options say that it cannot be sent any."""
        if self.options.api == "completions":
            raise UsageError("plain completions take no pictures: leave out api=completions to have videos looked at")
        before, after = self._visual_template.parts(_quote, text)
        encoder = PictureEncoder(self.options)
        judgements: list[Judgement | AnswerError] = []
        contents: dict[int, Content] = {}
        for row, video in enumerate(videos):
            error = show_error(text, video, self.video_input)
            if error is None:
                contents[row] = around_pictures(before, encoder.parts(video.pictures), after)
            else:
                advance()
            judgements.append(error or AnswerError("not judged"))
        judged = self._ask_all(self._visual_questions, list(contents.values()), lambda _: advance())
        for row, judgement in zip(contents, judged, strict=True):
            judgements[row] = judgement
        return judgements

    def _ask_all(
        self, questions: ClosedQuestionClient, contents: Sequence[Content], advance: Callable[[int], object]
    ) -> list[Judgement | AnswerError]:
        """Return the judgement of each question, several of which are under way at once; `advance` is called with the
        number of each."""
        judged: dict[int, Judgement | AnswerError] = {}
        if not contents:
            return []
        with ServerClient(self.options, self._unreachable) as server:
            self._model = self._model or server.served_model()
            judged[0] = questions.ask(server, self._model, contents[0])  # shows how the server is asked best
            advance(0)
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="judge")
            try:
                row_of = {
                    pool.submit(questions.ask, server, self._model, contents[row]): row
                    for row in range(1, len(contents))
                }
                for future in as_completed(row_of):
                    judged[row_of[future]] = future.result()
                    advance(row_of[future])
            finally:  # also at Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
        return [judged[row] for row in range(len(contents))]

    def fingerprint(self) -> str:
        """Hash address, model and question. A server that changes the weights of a name is not noticed."""
        return digest("judge", *self._identity(), self._template.model_dump())

    def visual_fingerprint(self) -> str:
        """The same of what videos are put to."""
        how = (self.options.pictures, self.options.detail, self._visual_template.model_dump())
        return digest("looks", *self._identity(), *how)

    def _identity(self) -> tuple[object, ...]:
        model = self.options.model or self._model
        if not model:
            with ServerClient(self.options) as server:
                model = server.served_model()
        manner = self.options.model_dump(include={"api", "samples", "thinking_tokens"})
        return self.name, self.options.base_url, model, manner

    @late_property
    def _visual_template(self) -> VisualTemplate:
        return self.options.visual_prompt_template

    @late_property
    def _visual_questions(self) -> ClosedQuestionClient:
        words = AnswerWords(self._visual_template.positive, self._visual_template.negative)
        blindness = BlindnessCheck(self.options.pictures, _COLOUR_TOKENS + self.options.thinking_tokens)
        return ClosedQuestionClient(words, self.options, blindness)


def _quote(text: str, tokens: int) -> str:
    return quote(text, tokens * TOKEN_CHARACTERS)
