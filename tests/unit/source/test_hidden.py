from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.source.hidden import hidden_name, identifier_of, is_hidden, tag_of


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_a_hidden_name_says_which_ledger_hid_which_file(tag: int, identifier: int) -> None:
    name = hidden_name(f"{tag:08x}", identifier)

    assert is_hidden(name)
    assert tag_of(name) == f"{tag:08x}"
    assert identifier_of(name) == identifier
    assert len(name) == 30


@pytest.mark.parametrize(
    "name",
    [
        b".s3fu-",
        b".s3fu-0123456789abcdef0123456",
        b".s3fu-0123456789abcdef012345678",
        b".s3fu-0123456789ABCDEF01234567",
        b".s3fu-0123456789abcdef0123456\n",
        b".s3fu-0123456789abcdef01234567\n",
        b"x.s3fu-0123456789abcdef01234567",
        b"",
    ],
)
def test_other_names_are_not_hidden(name: bytes) -> None:
    assert not is_hidden(name)
    assert tag_of(name) is None
    assert identifier_of(name) is None


@pytest.mark.parametrize("tag", ["", "0123456", "012345678", "ABCDEF01", "g0000000", "0000000\n"])
def test_a_tag_that_does_not_fit_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="8 lower-case hex digits"):
        hidden_name(tag, 1)


@pytest.mark.parametrize("identifier", [-1, 2**64])
def test_an_id_that_does_not_fit_is_refused(identifier: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        hidden_name("00000000", identifier)
