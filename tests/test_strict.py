"""The strict decoder of the validity benchmark can fail, and fails where the masks forbid; all where benchmarks are at hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from cadenza.tokens import Grammar, Rows

strict = pytest.importorskip("strict", reason="the benchmarks are not part of the source distribution")
validity = pytest.importorskip("validity")

KINDS = validity.kinds()
every_kind = pytest.mark.parametrize("name", sorted(KINDS))
REST, END = 64, 65
UNSAID = (128, 64, 32)
FIRST = (0, 60, 9, 20)
WORDS = ("NOTE_OFF_60", "NOTE_OFF_62", "NOTE_ON_60", "NOTE_ON_62", "TIME_SHIFT_200", "TIME_SHIFT_201", "VELOCITY_100", "VELOCITY_80")  # fmt: skip


def events(names: str) -> list[list[int]]:
    """Rows of the study's events, from names without what their first letters say: O62 F62 S200 V100."""
    kinds = {"O": "NOTE_ON", "F": "NOTE_OFF", "S": "TIME_SHIFT", "V": "VELOCITY"}
    return [[WORDS.index(f"{kinds[name[0]]}_{name[1:]}")] for name in names.split()]


def test_note_rows_are_read_as_their_format_says() -> None:
    rows = [FIRST, (0, 64, 63, 0), (REST, *UNSAID), (25, 40, 0, 31), (END, *UNSAID)]
    read = strict.read_note_rows(rows, 0, 127, "seconds")
    assert read[:2] == [(0, 60, 10, 82), (0, 64, 400, 2)]
    assert read[2][1:] == (40, 1, 126)
    assert 400 + 20 < read[2][0] < 400 + 40


def test_events_are_read_as_their_format_says() -> None:
    rows = events("V100 O60 S200 F60 V80 S201 O62 F62 O60")
    assert strict.read_study_events(rows, 0, 127, WORDS) == [(0, 60, 200, 100), (401, 62, 1, 80)]


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        ("after the end", [FIRST, (END, *UNSAID), (5, 60, 9, 20)]),
        ("no shift", [FIRST, (END + 1, 60, 9, 20)]),
        ("no shift", [(-1, 60, 9, 20)]),
        ("with a note at once", [(3, 60, 9, 20)]),
        ("with a note at once", [(END, *UNSAID)]),
        ("with a note at once", [(REST, *UNSAID)]),
        ("a rest leads", [FIRST, (REST, *UNSAID), (0, 60, 9, 20)]),
        ("a rest leads", [FIRST, (REST, *UNSAID), (END, *UNSAID)]),
        ("has not", [FIRST, (END, 60, 9, 20)]),
        ("has not", [FIRST, (REST, 128, 9, 32)]),
        ("bins", [FIRST, (5, 60, 64, 20)]),
        ("bins", [FIRST, (5, 60, 9, 32)]),
        ("bins", [FIRST, (5, *UNSAID)]),
        ("bins", [FIRST, (5, 60, 9)]),
        ("range", [FIRST, (5, 49, 9, 20)]),
        ("range", [FIRST, (5, 91, 9, 20)]),
        ("from below", [FIRST, (0, 60, 9, 20)]),
        ("from below", [FIRST, (0, 59, 9, 20)]),
    ],
)
def test_rows_that_break_a_rule_are_refused(rule: str, rows: list[tuple[int, ...]]) -> None:
    with pytest.raises(strict.Invalid, match=f"row {len(rows) - 1}: .*{rule}"):
        strict.read_note_rows(rows, 50, 90, "seconds")


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("opens", "O60"),
        ("opens", "V80"),
        ("a velocity after", "V100 V80"),
        ("a velocity after", "V100 S200 V80"),
        ("a velocity after", "V100 O60 V80"),
        ("without saying", "V100 O60 F60 V100"),
        ("a strike after a strike", "V100 O60 O62"),
        ("a strike after a duration", "V100 O60 S200 O62"),
        ("does not sound", "V100 O60 F62"),
        ("a release after", "V100 F60"),
        ("a release after", "V100 O60 F60 F60"),
        ("too long", "V100 O60 S201"),
        ("a shift after", "V100 S200 S200"),
        ("a shift after", "V100 O60 S200 S200"),
    ],
)
def test_events_that_break_a_rule_are_refused(rule: str, names: str) -> None:
    rows = events(names)
    with pytest.raises(strict.Invalid, match=f"row {len(rows) - 1}: .*{rule}"):
        strict.read_study_events(rows, 50, 90, WORDS)
    with pytest.raises(strict.Invalid, match="range"):
        strict.read_study_events(events("V100 O60"), 61, 90, WORDS)
    with pytest.raises(strict.Invalid, match="no event"):
        strict.read_study_events([[len(WORDS)]], 50, 90, WORDS)


def obeys(grammar: Grammar, rows: Rows) -> bool:
    """Whether the masks let these rows be chosen."""
    place, over = grammar.begin(1), False
    for row in rows:
        said = 1 if grammar.last_field(row) else len(grammar.sizes)
        inside = all(0 <= row[field] < grammar.sizes[field] for field in range(said))
        unsaid = row[said:].tolist() == list(grammar.sizes[said:])
        if over or not (
            inside and unsaid and all(grammar.allowed(place, f, row[None])[0, row[f]] for f in range(said))
        ):
            return False
        place, over = grammar.advance(place, row[None]), bool(grammar.ends(row))
    return True


@every_kind
def test_masks_and_strict_decoder_agree_on_single_changes(name: str) -> None:
    kind, rng = KINDS[name], np.random.default_rng(1)
    tokens, grammar = kind.tokens, kind.tokens.grammar(validity.LOWEST, validity.HIGHEST)
    found = []
    for steps in validity.improvised(validity.untrained("lstm", tokens), tokens, grammar, 12, seed=5):
        piece = np.stack([step.row for step in steps])
        assert not kind.fault(piece)
        for _ in range(60):
            changed = piece.copy()
            row, field = rng.integers(len(piece)), rng.integers(len(tokens.sizes))
            changed[row, field] = rng.integers(-1, tokens.sizes[field] + 2)
            fault = kind.fault(changed)
            assert obeys(grammar, changed) == (fault == "")
            found.append(fault)
    assert "" in found
    assert len({fault.partition(": ")[2] for fault in found}) > 5


def test_notes_that_are_decoded_to_others_are_a_fault() -> None:
    kind = KINDS["notes in seconds"]
    rows = np.array([FIRST, (5, 60, 30, 20)], dtype=np.int16)
    assert not kind.fault(rows)
    other = validity.Kind(kind.tokens, partial(strict.read_note_rows, unit="beats"))
    assert other.fault(rows) == "its notes are decoded to others"


@every_kind
def test_a_few_samples_are_judged_with_and_without_masks(name: str) -> None:
    one = validity.judge("transformer", KINDS[name], 3)
    assert (one.samples, one.faults) == (3, [])
    assert one.choices >= 3 * validity.FEWEST_ROWS
    assert 0 < one.removed < one.choices
    assert one.invalid_without_masks > 0.9
