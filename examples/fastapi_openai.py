"""A chat backend on FastAPI: answers of an OpenAI-compatible model, resumable in every tab.

    pip install 'holdfast' fastapi uvicorn httpx
    OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=llama3.2 uvicorn examples.fastapi_openai:app --port 8000

    curl -X POST 127.0.0.1:8000/chats/chat-42 -H 'Content-Type: application/json' -d '{"prompt": "Tell me a story"}'
    curl -N 127.0.0.1:8080/v1/sessions/chat-42/events

The answer is generated once, whoever watches; the page reads it from any gateway with the browser's own `EventSource`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from pydantic import BaseModel

import holdfast
from holdfast.adapters import openai_chat


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """One connection to the broker and one to the model for the whole process."""
    model = httpx.AsyncClient(
        base_url=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        headers={"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"},
        timeout=httpx.Timeout(10.0, read=300.0),
    )
    async with model, holdfast.connect() as hf:
        yield {"hf": hf, "model": model}


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    prompt: str


async def answer(model: httpx.AsyncClient, prompt: str) -> AsyncIterator[dict[str, Any]]:
    """The model's chunks as it streams them."""
    body = {
        "model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
    }
    async with model.stream("POST", "/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


@app.post("/chats/{chat}", status_code=202)
async def ask(chat: str, question: Question, request: Request) -> dict[str, str]:
    """Start an answer and say where to read it. It goes on when this request, or any viewer, is gone."""
    hf: holdfast.Holdfast = request.state.hf
    hf.launch(chat, openai_chat(answer(request.state.model, question.prompt)))
    return {"events": f"/v1/sessions/{chat}/events"}


@app.post("/chats/{chat}/stop")
async def stop(chat: str, request: Request) -> dict[str, str]:
    """Stop the answer; what it said so far stays."""
    hf: holdfast.Holdfast = request.state.hf
    return {"outcome": await hf.cancel(chat)}
