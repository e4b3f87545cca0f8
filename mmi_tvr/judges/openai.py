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
from ..chat.content import TOKEN_CHARACTERS, quote
from ..errors import AnswerError
from ..protocols import Model
from ..types import Judgement
from ..utils.hashing import digest
from ._common import JudgeOptions


class Options(ServerOptions, ClosedQuestionOptions, JudgeOptions):
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
        judged: dict[str, Judgement | AnswerError] = {}
        if not counts:
            return []
        with ServerClient(self.options, self._unreachable) as server:
            self._model = self._model or server.served_model()

            def judge_one(video: str) -> Judgement | AnswerError:
                (prompt,) = self._template.prompts(_quote, [text], [video])
                return self._questions.ask(server, self._model, prompt)

            first, *others = counts  # the first shows how the server is asked best
            judged[first] = judge_one(first)
            _advance(advance, counts[first])
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="judge")
            try:
                video_of = {pool.submit(judge_one, video): video for video in others}
                for future in as_completed(video_of):
                    judged[video_of[future]] = future.result()
                    _advance(advance, counts[video_of[future]])
            finally:  # also at Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
        return [judged[video] for video in videos]

    def fingerprint(self) -> str:
        """Hash address, model and question. A server that changes the weights of a name is not noticed."""
        model = self.options.model or self._model
        if not model:
            with ServerClient(self.options) as server:
                model = server.served_model()
        manner = self.options.model_dump(include={"api", "samples", "thinking_tokens"})
        return digest("judge", self.name, self.options.base_url, model, manner, self._template.model_dump())


def _quote(text: str, tokens: int) -> str:
    return quote(text, tokens * TOKEN_CHARACTERS)


def _advance(advance: Callable[[], object], times: int) -> None:
    for _ in range(times):
        advance()
