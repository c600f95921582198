"""Subjects and stream names: one place for every session, and no way into another's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire import InvalidId, Namespace, SessionKey, StreamName
from holdfast.wire.subjects import incarnation_at, is_token, run_name, token

IDS = st.text("abcXYZ019_-", min_size=1, max_size=128)
KEYS = st.builds(SessionKey.of, IDS, IDS)
NAMESPACES = st.builds(Namespace, st.integers(1, 1024), st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True))


@given(NAMESPACES, KEYS)
def test_a_subject_leads_back_to_its_session(namespace: Namespace, key: SessionKey) -> None:
    """Stored and live subjects name exactly one session, inside the namespace's partitions."""
    assert namespace.key_of(namespace.stored(key)) == key
    assert namespace.key_of(namespace.live(key)) == key
    partition = namespace.partition(key)
    assert 0 <= partition < namespace.partitions
    assert namespace.stored(key).split(".")[:2] == namespace.stored_filter(partition).split(".")[:2]


@given(KEYS, KEYS)
def test_two_sessions_have_two_subjects(a: SessionKey, b: SessionKey) -> None:
    """No two sessions share a subject, whatever their ids."""
    namespace = Namespace(4)
    assert (namespace.stored(a) == namespace.stored(b)) == (a == b)


@given(NAMESPACES, st.integers(0, 1023), st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True))
def test_stream_names_lead_back(namespace: Namespace, partition: int, incarnation: str) -> None:
    """A stream's name holds its namespace, partition and incarnation."""
    parsed = StreamName.parse(namespace.stream_name(partition, incarnation))
    assert parsed == StreamName(namespace.prefix, partition, incarnation)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "hf",
        "hf.0.t",
        "hf.0.t.s.x",
        "hfc.0.t.s",
        "HF.0.t.s",
        "hf.0.t.",
        "hf.0..s",
        "hf.0.t.*",
        "hf.0.>.s",
        "hf.0.t.é",
    ],
)
def test_foreign_subjects_are_nobodys(subject: str) -> None:
    """A subject that is not a session's of this namespace is not taken for one."""
    assert Namespace(4).key_of(subject) is None


@pytest.mark.parametrize("prefix", ["", "HF", "1a", "a.b", "a-b", "a" * 17, "é", "a\n"])
def test_unusable_prefixes(prefix: str) -> None:
    """A prefix is one lower-case token."""
    with pytest.raises(InvalidId):
        Namespace(1, prefix)


@pytest.mark.parametrize("partitions", [0, -1, 1025])
def test_unusable_partition_counts(partitions: int) -> None:
    """Partitions are 1 to 1,024."""
    with pytest.raises(ValueError, match="1 to 1024"):
        Namespace(partitions)


def test_subjects_beside_the_sessions() -> None:
    """Filters, the republish destination and hints stay in the namespace."""
    namespace = Namespace(4, "eu2")
    assert namespace.stored_filter(3) == "eu2.3.*.*"
    assert namespace.live_template(3) == "eu2l.3.{{wildcard(1)}}.{{wildcard(2)}}"
    assert namespace.writer_hint("w1-1") == "eu2c.w.w1-1"
    assert namespace.writer_nudge("w1-1") == "eu2c.n.w1"
    assert str(SessionKey.of("s", "t")) == "t/s"


def test_incarnations_grow_with_time_and_fit() -> None:
    """A later stream has another incarnation, of at most 16 characters."""
    assert incarnation_at(1_800_000_000.001) != incarnation_at(1_800_000_000.002)
    assert StreamName.parse(f"HOLDFAST_0_{incarnation_at(10.0**12)}") is not None


def test_ids_chosen_by_callers() -> None:
    """Run ids are tokens; the error names what was wrong, and cuts long values."""
    assert run_name("answer-9") == "answer-9"
    assert is_token("w")
    assert not is_token("a.b")
    with pytest.raises(InvalidId, match="run id"):
        run_name("a b")
    with pytest.raises(InvalidId) as caught:
        token("writer id", "x." * 500)
    assert len(str(caught.value)) < 250
    with pytest.raises(InvalidId):
        SessionKey.of(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidId):
        SessionKey.of("s", 7)  # type: ignore[arg-type]
    with pytest.raises(InvalidId):
        run_name(7)  # type: ignore[arg-type]
