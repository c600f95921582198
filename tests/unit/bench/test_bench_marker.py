"""The marker: what a producer writes is what a viewer reads, whatever it is wrapped in."""

from __future__ import annotations

import pytest
from bench import marker
from hypothesis import given
from hypothesis import strategies as st

_STAMPS = st.integers(0, 10**16 - 1)
_INDEXES = st.integers(0, 10**8 - 1)


@given(_STAMPS, _INDEXES, st.integers(marker.MARKER_BYTES, 4096))
def test_a_marker_comes_back_from_a_payload_of_the_asked_size(stamp: int, index: int, size: int) -> None:
    """The payload has exactly the asked size, and its one marker says what was put in."""
    data = marker.encode(stamp, index, size)
    assert len(data.encode()) == size
    assert marker.find(data.encode()) == [marker.Marker(stamp, index)]


@given(st.lists(st.tuples(_STAMPS, _INDEXES), max_size=5))
def test_markers_are_found_in_order_within_json_and_sse(marks: list[tuple[int, int]]) -> None:
    """Framing around and between them changes nothing."""
    stream = b"@".join(f'id: 7\ndata: {{"text":"{marker.encode(*m, 40)}"}}\n\n'.encode() for m in marks)
    assert marker.find(stream) == [marker.Marker(*m) for m in marks]


@pytest.mark.parametrize(("index", "size"), [(10**8, 100), (-1, 100), (0, marker.MARKER_BYTES - 1)])
def test_what_does_not_fit_is_refused(index: int, size: int) -> None:
    """A marker that would be cut or read as another one never goes out."""
    with pytest.raises(ValueError):
        marker.encode(1, index, size)
