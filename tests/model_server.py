"""Servers on this machine that behave as vLLM, Ollama, llama.cpp, LM Studio and OpenAI do, and as broken ones do.

The language model in them knows colours, yes from no, and a secret word, and reads one token a word.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 40), "blue": (30, 60, 220), "purple": (128, 0, 128)}
CHINESE = {"red": "红色", "green": "绿色", "blue": "蓝色", "purple": "紫色"}


@dataclass
class Behaviour:
    """What a server can do, and how it fails; the default is as good as vLLM with a model that sees."""

    models: tuple[str, ...] = ("tiny",)
    listing: dict[str, Any] = field(default_factory=dict)  # further fields of a listed model
    pictures: int = 64  # in one message, at most
    blind: str = ""  # how it fails with pictures: "400", "500", "silent", "refuses"
    picture_tokens: int = 64
    logprobs: bool = True
    choice: tuple[str, ...] = ("structured_outputs",)  # fields by which a reply can be constrained
    context: int = 32_768
    cuts: bool = False  # drops the beginning of what is too long, instead of refusing it
    thinks: str = ""  # "tags", "field", or "always", which cannot be switched off
    chinese: bool = True
    yes: str = "Yes."
    no: str = "No."
    refuses: bool = False
    usage: bool = True
    refused_fields: tuple[str, ...] = ()
    delay: float = 0.0
    hangs: bool = False
    key: str = ""
    page: str = ""  # every reply is this page
    redirect: str = ""
    streams: bool = False
    spent: bool = False  # an account without money
    lists: bool = True
    tokens: tuple[tuple[str, dict[str, float]], ...] = ()  # of every reply: each with the probabilities of alternatives
    chat: bool = True  # false: plain completions alone
    chat_template: bool = True
    rejects: str = ""  # a word that it refuses (400), and does not say why
    judges_colours: bool = False  # yes where two texts name the same colours; else, no where there is a blue one
    dies: int = -1  # after so many requests nobody answers any more
    least_effort: str = "none"  # of thinking, among the words that OpenAI's models know


PROFILES: dict[str, Behaviour] = {
    "vllm": Behaviour(listing={"max_model_len": 32_768}),
    "ollama": Behaviour(choice=("response_format",), context=4096, cuts=True),
    "ollama_small": Behaviour(choice=("response_format",), context=2048, cuts=True, logprobs=False, usage=False),
    "llama.cpp": Behaviour(choice=("response_format", "grammar"), context=8192),
    "llama.cpp_text": Behaviour(choice=("response_format", "grammar"), context=8192, blind="500"),
    "lm_studio": Behaviour(logprobs=False, choice=("response_format",), context=16_384),
    "openai": Behaviour(
        models=("gpt-4o", "gpt-4o-mini"), key="secret-key", choice=("response_format",),
        refused_fields=("structured_outputs", "guided_choice", "grammar"), context=128_000,
    ),
    "openai_thinking": Behaviour(
        refused_fields=("max_tokens", "temperature", "logprobs", "structured_outputs", "guided_choice", "grammar"),
        choice=("response_format",), logprobs=False, thinks="always",
    ),
}  # fmt: skip


class ModelServer:
    """`with ModelServer(Behaviour()) as server`: `server.url`; `bodies` of the chat completions that came."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.reply_to(self, None)

            def do_POST(self) -> None:
                server.reply_to(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None
        self._ended = threading.Event()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reply_to(self, handler: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> None:
        does = self.behaviour
        if does.hangs:
            self._ended.wait()
        if does.page:
            return send(handler, 200, does.page.encode(), "text/html")
        if does.redirect:
            handler.send_response(301)
            handler.send_header("Location", does.redirect)
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        if does.key and handler.headers.get("Authorization") != f"Bearer {does.key}":
            return send_error(handler, 401, "Incorrect API key provided")
        if body is None:
            if not does.lists:
                return send_error(handler, 404, "not found")
            listed = [{"id": name, **does.listing} for name in does.models]
            return send(handler, 200, json.dumps({"data": listed}).encode())
        self.bodies.append(body)
        self._ended.wait(does.delay)
        if 0 <= does.dies < len(self.bodies):
            return handler.connection.close()
        plain = handler.path.endswith("/v1/completions")
        if not plain and not does.chat:
            return send_error(handler, 404, "Not Found")
        status, document = PlainCompletion(does, body).document() if plain else Completion(does, body).document()
        if does.streams and status == 200:
            delta = {"choices": [{"delta": document["choices"][0]["message"]}]}
            return send(handler, 200, f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")
        return send(handler, status, json.dumps(document).encode())


class Completion:
    """One request, and what a model of that behaviour makes of it."""

    def __init__(self, does: Behaviour, body: dict[str, Any]) -> None:
        self.does, self.body = does, body
        content = body["messages"][-1]["content"]
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        self.text = " ".join(part["text"] for part in parts if part["type"] == "text")
        self.colours = [colour_of(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]

    def document(self) -> tuple[int, dict[str, Any]]:
        does, body = self.does, self.body
        if body["model"] not in does.models:
            return error(404, f"the model {body['model']!r} does not exist")
        for name in does.refused_fields:
            if name in body:
                instead = "Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                return error(400, f"Unsupported parameter: {name!r} is not supported with this model. {instead}")
        if refused := self._refused():
            return error(400, refused)
        if does.spent:
            return 429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
        if self.colours and does.blind == "400":
            return error(400, "tiny is not a multimodal model")
        if self.colours and does.blind == "500":
            return error(500, "image input is not supported - hint: you may need to provide the mmproj")
        if len(self.colours) > does.pictures:
            return error(400, f"At most {does.pictures} image(s) may be provided in one prompt.")
        words = self.text.split()
        seen = 0 if does.blind else len(self.colours) * does.picture_tokens
        if len(words) + seen > does.context:
            if not does.cuts:
                return error(400, f"This model's maximum context length is {does.context} tokens.")
            words = words[len(words) + seen - does.context :]
        reply = self._reply(" ".join(words))
        return 200, self._completion(reply, len(words) + seen)

    def _refused(self) -> str:
        """Why the request is refused, whatever it is about; empty where it is not."""
        does, body = self.does, self.body
        if does.rejects and does.rejects in self.text:
            return "Bad Request"
        if not does.chat_template and "messages" in body:
            return "As of transformers v4.44 you must provide a chat template."
        efforts = ("none", "minimal", "low", "medium")
        if "reasoning_effort" in body and body["reasoning_effort"] not in efforts[efforts.index(does.least_effort) :]:
            return "Unsupported value: 'reasoning_effort' does not support 'none' with this model."
        return ""

    def _completion(self, reply: str, prompt_tokens: int) -> dict[str, Any]:
        does, body = self.does, self.body
        thinking = "Let me think about that for a while, because it may be another one. " * 4
        off = body.get("chat_template_kwargs", {}).get("enable_thinking") is False
        message: dict[str, Any] = {"role": "assistant", "content": reply}
        words = reply.split()
        if does.thinks == "always" or (does.thinks and not off):
            words = [*thinking.split(), *words]
            if does.thinks == "tags":
                message["content"] = f"<think>{thinking}</think>{reply}"
            else:
                message["reasoning_content"] = thinking
        limit = body.get("max_tokens", body.get("max_completion_tokens", 10**6))
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
        if len(words) > limit:
            choice["finish_reason"] = "length"
            message["content"] = f"<think>{thinking}"[:100] if does.thinks == "tags" else ""
        if body.get("logprobs") and does.logprobs:
            choice["logprobs"] = {"content": self._tokens(reply)}
        document: dict[str, Any] = {"choices": [choice] * body.get("n", 1)}
        if does.usage:
            used = min(len(words), limit)
            document["usage"] = {
                "prompt_tokens": prompt_tokens, "completion_tokens": used, "total_tokens": prompt_tokens + used,
            }  # fmt: skip
        return document

    def _tokens(self, reply: str) -> list[dict[str, Any]]:
        if not self.does.tokens:
            return [{**alternatives(reply)[0], "top_logprobs": alternatives(reply)}]
        return [
            {
                "token": token,
                "logprob": math.log(others.get(token, 0.5)),
                "top_logprobs": [{"token": other, "logprob": math.log(p)} for other, p in others.items()],
            }
            for token, others in self.does.tokens
        ]

    def _reply(self, text: str) -> str:
        """What the model says to the part of the text that it reads."""
        does = self.does
        if does.refuses:
            return "I'm sorry, but I can't assist with that."
        allowed = self._allowed()
        if allowed:
            return allowed["yes or no" in text and not self._agrees(text)]
        if self.colours and does.blind == "refuses":
            return "I'm unable to view images."
        if "secret word" in text:
            secret = re.search(r"secret word is \W?(\w+)", text)
            return secret[1] if secret else "I do not know"
        if "yes or no" in text:
            return does.yes if self._agrees(text) else does.no
        if "Count" in text:
            return " ".join(map(str, range(1, 21)))
        if "颜色" in text:
            return CHINESE["red"] if does.chinese else "?"
        if self.colours and not does.blind:
            return self.colours[-1]
        return next((colour for colour in COLOURS if re.search(rf"\b{colour}\b", text)), "blue").capitalize()

    def _agrees(self, text: str) -> bool:
        if not self.does.judges_colours:
            return "blue" not in text
        one, other = (
            [colour for colour in COLOURS if colour in each.lower()] for each in re.findall('"([^"]*)"', text)
        )
        return one == other

    def _allowed(self) -> list[str]:
        """The replies that a constraint allows, where the server obeys it."""
        body = self.body
        for name in self.does.choice:
            if name not in body:
                continue
            if name == "response_format":
                schema = body[name]["json_schema"]["schema"]
                values = next(iter(schema["properties"].values()))["enum"] if "properties" in schema else schema["enum"]
                key = next(iter(schema["properties"]), None) if "properties" in schema else None
                return [json.dumps({key: value}) if key else json.dumps(value) for value in values]
            if name == "grammar":
                return re.findall(r'"(\w+)"', body[name])
            return list(body[name]["choice"] if name == "structured_outputs" else body[name])
        return []


class PlainCompletion(Completion):
    """The same of a prompt, in the form of plain completions: the tokens are columns."""

    def __init__(self, does: Behaviour, body: dict[str, Any]) -> None:
        super().__init__(does, {**body, "messages": [{"role": "user", "content": body["prompt"]}]})
        del self.body["messages"]

    def _completion(self, reply: str, prompt_tokens: int) -> dict[str, Any]:
        document = super()._completion(reply, prompt_tokens)
        for choice in document["choices"]:
            choice["text"] = choice.pop("message")["content"]
            tokens = choice.pop("logprobs", {}).get("content", [])
            if tokens:
                choice["logprobs"] = {
                    "tokens": [token["token"] for token in tokens],
                    "token_logprobs": [token["logprob"] for token in tokens],
                    "top_logprobs": [
                        {other["token"]: other["logprob"] for other in token["top_logprobs"]} for token in tokens
                    ],
                }
        return document


def colour_of(url: str) -> str:
    """The name of the colour that is nearest to a picture's mean."""
    stream = io.BytesIO(base64.b64decode(url.partition(",")[2]))
    mean = np.asarray(Image.open(stream).convert("RGB")).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def alternatives(reply: str) -> list[dict[str, Any]]:
    other = "No" if reply.lower().startswith("y") else "Yes"
    return [
        {"token": reply.strip("."), "logprob": math.log(0.9)},
        {"token": other, "logprob": math.log(0.05)},
        {"token": "The", "logprob": math.log(0.02)},
    ]


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "code": status}}


def send_error(handler: BaseHTTPRequestHandler, status: int, message: str) -> None:
    send(handler, status, json.dumps(error(status, message)[1]).encode())


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    """Wait until something is so; AssertionError where it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
