"""Providers' HTTP answers, served to the real client libraries by a server on this machine.

The libraries parse them, so what the adapters see are the libraries' own objects.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def sse(events: Iterable[dict[str, object]], *, named: bool = False, done: bool = False) -> bytes:
    """Server-sent events of JSON objects; `named` puts their `type` into the event line."""
    out = []
    for e in events:
        name = f"event: {e['type']}\n" if named else ""
        out.append(f"{name}data: {json.dumps(e)}\n\n")
    if done:
        out.append("data: [DONE]\n\n")
    return "".join(out).encode()


@contextmanager
def served(body: bytes) -> Iterator[str]:
    """Answer every POST with the body, as server-sent events. Gives the base URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def chat_chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}],
        **more,
    }


CHAT = [
    chat_chunk({"role": "assistant", "content": ""}),
    chat_chunk({"reasoning_content": "Hm. "}),
    chat_chunk({"content": "Grüße, "}),
    chat_chunk({"content": "Welt\n"}),
    chat_chunk(
        {"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": ""}}]}
    ),
    chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]}),
    chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    chat_chunk({}, "tool_calls"),
    {
        **chat_chunk({}),
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    },
]


def response_object(status: str, **more: object) -> dict[str, object]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": status,
        **more,
    }


USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 8,
}


def numbered(events: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{**e, "sequence_number": i} for i, e in enumerate(events)]


def _at(item: str, index: int = 0, **more: object) -> dict[str, object]:
    return {"item_id": item, "output_index": index, **more}


RESPONSE = numbered(
    [
        {"type": "response.created", "response": response_object("in_progress")},
        {"type": "response.reasoning_summary_text.delta", **_at("rs_1", summary_index=0), "delta": "Thinking."},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "holdfast"},
            },
        },
        {
            "type": "response.output_item.added",
            "output_index": 2,
            "item": {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []},
        },
        {"type": "response.output_text.delta", **_at("msg_1", 2, content_index=0), "delta": "Hello ", "logprobs": []},
        {"type": "response.output_text.delta", **_at("msg_1", 2, content_index=0), "delta": "there", "logprobs": []},
        {
            "type": "response.output_text.annotation.added",
            **_at("msg_1", 2, content_index=0, annotation_index=0),
            "annotation": {
                "type": "url_citation",
                "url": "https://example.org/a",
                "title": "A",
                "start_index": 0,
                "end_index": 1,
            },
        },
        {
            "type": "response.output_item.added",
            "output_index": 3,
            "item": {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_a",
                "name": "add",
                "arguments": "",
                "status": "in_progress",
            },
        },
        {"type": "response.function_call_arguments.delta", **_at("fc_1", 3), "delta": '{"x":1}'},
        {
            "type": "response.output_item.done",
            "output_index": 3,
            "item": {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_a",
                "name": "add",
                "arguments": '{"x":1}',
                "status": "completed",
            },
        },
        {"type": "response.completed", "response": response_object("completed", usage=USAGE)},
    ]
)

MESSAGE: list[dict[str, object]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "m",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me see."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "there"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"x": '}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
]
