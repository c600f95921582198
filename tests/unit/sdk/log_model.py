"""A model of one session's subject: what the broker does to appends, looks and outsiders, without time or network."""

from __future__ import annotations

import json

from holdfast.answer import Answer, read_ack
from holdfast.wire import Draft, Kind, Record, decode
from holdfast.wire import headers as h


class SubjectLog:
    """The truth. Sequences have holes, as other sessions share the stream."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.next = 3

    @property
    def last(self) -> int:
        return self.records[-1].sequence if self.records else 0

    def append(self, draft: Draft, expected: int | None = None) -> Answer:
        """Append, conditionally if `expected` is given; the answer goes through the real ack reader."""
        if expected is not None and expected != self.last:
            error = {"code": 400, "err_code": 10071, "description": f"wrong last sequence: {self.last}"}
            return read_ack(json.dumps({"error": error, "stream": "S", "seq": 0}).encode())
        headers = dict(draft.headers)
        if expected is not None:
            headers[h.EXPECTED_LAST] = str(expected)
        self.records.append(decode(self.next, headers, draft.body))
        self.next += 2
        return read_ack(json.dumps({"stream": "S", "seq": self.last}).encode())

    def expire(self) -> None:
        self.records.clear()

    def page(self, after: int, size: int, visible: int | None = None) -> tuple[list[Record], bool]:
        """What a replica that has applied `visible` records answers, and whether it has more."""
        seen = self.records if visible is None else self.records[:visible]
        found = [r for r in seen if r.sequence > after]
        return found[:size], len(found) > size

    def texts(self, writer: str) -> list[str]:
        return [e.text for r in self.records if r.writer == writer and r.kind is Kind.DATA for e in r.events]
