"""Holdfast for code without an event loop: threads, Celery, Django.

    with holdfast.sync.connect() as hf:
        with hf.session("chat-42") as s:
            for token in model:
                s.write(token)

The same names and guarantees as `holdfast`; one event loop runs in a background thread of the process. After a fork a
child connects anew and never touches the parent's socket.
"""

from holdfast.sync.client import Holdfast, connect
from holdfast.sync.session import Session

__all__ = ["Holdfast", "Session", "connect"]
