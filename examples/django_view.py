"""Django, synchronous: a view that starts an answer in a thread and returns at once.

    pip install 'holdfast' django
    python examples/django_view.py runserver 8000

    curl -X POST 127.0.0.1:8000/chats/chat-42 -d 'prompt=Tell me a story'
    curl -N 127.0.0.1:8080/v1/sessions/chat-42/events

A Celery task is the same: `answer` is its body. The connection may be made before the workers fork.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import holdfast
import holdfast.sync

settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver"],
    ROOT_URLCONF=__name__,
)
django.setup()

pool = ThreadPoolExecutor(32, thread_name_prefix="answers")


@lru_cache
def broker() -> holdfast.sync.Holdfast:
    """One connection a process, made at its first use."""
    return holdfast.sync.connect()


def model(prompt: str) -> Iterator[str]:
    """Stands for a model's synchronous stream."""
    for word in f"You said: {prompt}".split(" "):
        time.sleep(0.01)
        yield f"{word} "


def answer(chat: str, prompt: str) -> None:
    """Generate one answer. A model that raises is told to viewers as `session.failed`."""
    with broker().session(chat) as session:
        for token in model(prompt):
            session.write_wait(token)
        session.end({"finish_reason": "stop"})


@csrf_exempt
@require_POST
def ask(request: HttpRequest, chat: str) -> JsonResponse:
    """Start an answer and say where to read it."""
    pool.submit(answer, chat, request.POST.get("prompt", ""))
    return JsonResponse({"events": f"/v1/sessions/{chat}/events"}, status=202)


@csrf_exempt
@require_POST
def stop(request: HttpRequest, chat: str) -> JsonResponse:
    """Stop the answer; what it said so far stays."""
    return JsonResponse({"outcome": broker().cancel(chat)})


urlpatterns = [path("chats/<slug:chat>", ask), path("chats/<slug:chat>/stop", stop)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
