from __future__ import annotations

from s3_file_uploader.transport.s3.pace import WINDOW_SECONDS, Pace


def test_more_connections_help_who_mostly_waits_for_answers() -> None:
    pace = Pace(lambda: 0.0)
    assert not pace.wants_more(10.0, 5.0)  # the window begins here
    assert not pace.wants_more(10.0 + WINDOW_SECONDS / 2, WINDOW_SECONDS / 2)
    assert pace.wants_more(10.0 + WINDOW_SECONDS * 1.25, WINDOW_SECONDS / 4)
    assert not pace.wants_more(10.0 + WINDOW_SECONDS * 2, WINDOW_SECONDS / 2)


def test_they_do_not_help_who_is_at_work_himself() -> None:
    pace = Pace(lambda: 0.0)
    pace.wants_more(10.0, 0.0)
    assert not pace.wants_more(10.0 + WINDOW_SECONDS * 1.1, WINDOW_SECONDS / 3)


def test_they_do_not_help_where_other_threads_have_the_processor() -> None:
    cpu = [1.0]
    pace = Pace(lambda: cpu[0])
    pace.wants_more(10.0, 0.0)
    cpu[0] += WINDOW_SECONDS
    assert not pace.wants_more(10.0 + WINDOW_SECONDS * 1.1, WINDOW_SECONDS)


def test_time_in_which_nobody_waited_does_not_count() -> None:
    pace = Pace(lambda: 0.0)
    pace.wants_more(10.0, 0.0)
    pace.rest()
    assert not pace.wants_more(99.0, 80.0)
    assert pace.wants_more(99.0 + WINDOW_SECONDS * 1.5, WINDOW_SECONDS)
