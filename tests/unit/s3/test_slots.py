"""Who may send: arrival order, a bound, and small files that pass large ones."""

from __future__ import annotations

from s3_file_uploader.transport.s3.slots import FIRST_SLOTS, LARGE_SLOTS, Slots


def started(slots: Slots[str]) -> list[str]:
    names = []
    while (name := slots.next()) is not None:
        names.append(name)
    return names


def test_they_start_in_the_order_of_arrival_whatever_their_size() -> None:
    slots: Slots[str] = Slots(10)
    for number, is_large in enumerate([True, False, False, True, False]):
        slots.join(str(number), is_large=is_large)
    assert started(slots) == ["0", "1", "2", "3", "4"]


def test_no_more_than_there_are_slots_start() -> None:
    slots: Slots[str] = Slots(2)
    for name in "abc":
        slots.join(name, is_large=False)
    assert started(slots) == ["a", "b"]
    slots.give_back(is_large=False)
    assert started(slots) == ["c"]
    assert not slots.is_awaited


def test_large_ones_leave_room_for_small_ones() -> None:
    slots: Slots[str] = Slots(4)
    for name in "ABCDE":
        slots.join(name, is_large=True)
    slots.join("small", is_large=False)
    assert started(slots) == ["A", "B", "C", "small"]


def test_a_single_slot_takes_large_ones_too() -> None:
    slots: Slots[str] = Slots(1)
    slots.join("A", is_large=True)
    assert started(slots) == ["A"]


def test_borrowing_is_only_for_when_nobody_waits() -> None:
    slots: Slots[str] = Slots(4)
    slots.join("A", is_large=True)
    assert not slots.borrow()
    started(slots)
    assert slots.borrow()
    assert slots.borrow()
    assert not slots.borrow()  # three of four is what large files get
    slots.give_back(is_large=True)
    assert slots.borrow()


def test_slots_begin_few_and_grow_up_to_the_cap() -> None:
    slots: Slots[str] = Slots(100)
    assert slots.size == FIRST_SLOTS
    for _ in range(100):
        slots.grow()
    assert slots.size == 100
    for number in range(50):
        slots.join(str(number), is_large=True)
    assert len(started(slots)) == LARGE_SLOTS


def test_draining_gives_all_who_wait_in_order_and_leaves_none() -> None:
    slots: Slots[str] = Slots(1)
    for number, is_large in enumerate([False, True, False]):
        slots.join(str(number), is_large=is_large)
    assert started(slots) == ["0"]
    assert slots.drain() == ["1", "2"]
    assert not slots.is_awaited


def test_another_cap_holds_for_what_begins_from_then_on() -> None:
    slots: Slots[int] = Slots(8)
    for job in range(20):
        slots.join(job, is_large=False)
    begun = [slots.next() for _ in range(8)]
    assert None not in begun

    slots.resize(2)
    slots.give_back(is_large=False)
    assert slots.next() is None
    for _ in range(6):
        slots.give_back(is_large=False)
    assert slots.next() is not None
    assert slots.next() is None

    slots.resize(64)
    assert sum(slots.next() is not None for _ in range(20)) == 11  # all that wait
