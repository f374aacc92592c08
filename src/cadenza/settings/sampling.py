"""The settings of sampling: what is likely, what is forbidden, how long a piece is, and whom it is for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cadenza.settings.section import Section, nearest, shown

Temperature = Annotated[float, Field(ge=0, le=10)]
TopK = Annotated[int, Field(ge=0)]
TopP = Annotated[float, Field(gt=0, le=1)]
MinP = Annotated[float, Field(ge=0, lt=1)]
LENGTHS = ("seconds", "notes", "bars")
LONGEST = 3600
"""Seconds of the longest piece."""
PLAYED = ("any", "violin", "viola", "cello", "flute")
"""Whom music can be improvised for."""


class SampleSettings(Section):
    """How the model improvises."""

    temperature: Temperature = Field(
        0.95, description="Below 1 plays safe, above 1 takes risks; 0 always takes the likeliest."
    )
    by_field: dict[str, Temperature] = Field(
        {}, description="Temperatures of single fields, such as {pitch = 1.1}; the others take sample.temperature."
    )
    top_k: TopK = Field(0, description="Choose among the k likeliest ids only; 0 is off.")
    top_k_by_field: dict[str, TopK] = Field({}, description="The same of single fields.")
    top_p: TopP = Field(1.0, description="Choose among the likeliest ids that hold this probability (nucleus).")
    top_p_by_field: dict[str, TopP] = Field({}, description="The same of single fields.")
    min_p: MinP = Field(0.0, description="Drop ids less likely than this share of the likeliest.")
    min_p_by_field: dict[str, MinP] = Field({}, description="The same of single fields.")
    seconds: float = Field(60.0, gt=0, le=LONGEST, description=f"Length of a piece, seconds; {LONGEST:,} at most.")
    notes: int = Field(0, ge=0, le=100_000, description="Length of a piece, notes; 0 asks for none.")
    bars: int = Field(0, ge=0, le=10_000, description="Length of a piece in music of beats, bars; 0 asks for none.")
    ending: Literal["free", "held", "cut", "never"] = Field(
        "free",
        description="How a piece ends: by itself, or near the length where that is likeliest (free); not before the last fifth (held, the default where a length is given); wherever it has come to (cut), though not by itself (never).",
    )
    repeats: int = Field(0, ge=0, description="A phrase is heard again so often at most; 0 is off, 4 ends loops.")
    phrase: int = Field(16, ge=2, le=1000, description="Notes of such a phrase.")
    novel: int = Field(0, ge=0, le=1000, description="Most notes on end as in a training piece, in any key; 0 is off.")
    entry: float = Field(
        0.0, ge=0, le=LONGEST, description="No note of what follows a prompt begins before this time, seconds."
    )
    rows: int = Field(20_000, ge=1, description="Most rows of a piece.")
    opening: int = Field(0, ge=0, description="Rows of a training piece with which every piece begins.")
    masks: bool = Field(True, description="Rule out what the representation's grammar forbids.")
    instrument: str = Field("any", description=f"Write only what this instrument can play: {', '.join(PLAYED)}.")
    count: int = Field(4, ge=1, le=10_000, description="Pieces made at the end of a run.")
    sweep: tuple[Temperature, ...] = Field(
        (), description="Temperatures at which a run makes that many pieces each; empty takes the one temperature."
    )

    @field_validator("instrument", mode="before")
    @classmethod
    def in_any_case(cls, name: object) -> object:
        return name.strip().lower() if isinstance(name, str) else name

    @model_validator(mode="after")
    def possible(self) -> SampleSettings:
        if self.instrument not in PLAYED:
            close = nearest(self.instrument, PLAYED)
            raise ValueError(
                f"there is no instrument {shown(repr(self.instrument))} to play{close}; use {', '.join(PLAYED)}"
            )
        if self.instrument != "any" and not self.masks:
            raise ValueError("music for an instrument needs masks; leave out sample.masks or sample.instrument")
        if self.novel == 1:
            raise ValueError("every note is in some training piece; set sample.novel to 2 notes or more")
        return self

    def of(self, field: str) -> tuple[float, int, float, float]:
        """Temperature, top-k, top-p and min-p of a field."""
        return (
            self.by_field.get(field, self.temperature),
            self.top_k_by_field.get(field, self.top_k),
            self.top_p_by_field.get(field, self.top_p),
            self.min_p_by_field.get(field, self.min_p),
        )

    @property
    def fields_named(self) -> list[str]:
        """The fields that have a control of their own."""
        return [field for table in BY_FIELD.values() for field in getattr(self, table)]


BY_FIELD = {
    "temperature": "by_field",
    "top_k": "top_k_by_field",
    "top_p": "top_p_by_field",
    "min_p": "min_p_by_field",
}
"""Every control that fields may have of their own, and the setting that holds those."""
