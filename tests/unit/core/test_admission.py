"""Places for viewers."""

from __future__ import annotations

from holdfast_gateway.core.admission import Admission
from holdfast_gateway.core.close_reasons import RefusalReason


def test_each_bound_refuses_with_its_reason_and_takes_no_place() -> None:
    doors = Admission(max_viewers=2, max_per_session=1)
    assert doors.admit(0) is None
    assert doors.admit(1) is RefusalReason.SESSION_FULL
    assert doors.admit(0) is None
    assert doors.admit(0) is RefusalReason.POD_FULL
    doors.release()
    assert doors.viewers == 1
    doors.draining = True
    assert doors.admit(0) is RefusalReason.DRAINING
    assert doors.viewers == 1
