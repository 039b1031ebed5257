"""Any identities, cameras and tables end in a result or in a UserError."""

from __future__ import annotations

from typing import Any

from fuzz_cases import ends_well, fuzz, junk
from hypothesis import given

from reidlab.errors import UserError


@fuzz(100)
@given(junk())
def test_messages_quote_anything(value: Any) -> None:
    def call() -> None:
        raise UserError(f"{value!r} is not allowed.")

    assert isinstance(ends_well(call), UserError)
