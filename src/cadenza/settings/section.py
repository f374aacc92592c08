"""What every section of the settings is, and which name of several was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

LONGEST_SHOWN = 100
"""Letters of a wrong value or name that a message repeats."""


class Section(BaseModel):
    """Frozen; an unknown key is an error, and so is a truth value for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def numbers_are_no_truths(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, bool) and key in cls.model_fields and cls.model_fields[key].annotation in (int, float):
                raise ValueError(f"{key} takes a number, and {value} is none")
        return values


def nearest(word: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def shown(text: str) -> str:
    """At most `LONGEST_SHOWN` letters of what somebody wrote, on one line.

    >>> shown("two\\nlines")
    'two\\\\nlines'
    """
    line = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[: LONGEST_SHOWN + 1]
    )
    return line if len(text) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}…"
