"""Controls of sampling in words, and where each of them comes from."""

from __future__ import annotations

from cadenza.settings import BY_FIELD, SampleSettings


def controls(sampling: SampleSettings) -> dict[tuple[str, str], str]:
    """The temperature and every control that does something, in words; by setting and field."""
    shown = {}
    for key, table in BY_FIELD.items():
        name, value = key.replace("_", "-"), getattr(sampling, key)
        if key == "temperature" or value != getattr(SampleSettings(), key):
            shown[key, ""] = f"{name} {value:g}"
        of = "" if key == "temperature" else f"{name} of "
        shown |= {(table, field): f"{of}{field} {one:g}" for field, one in getattr(sampling, table).items()}
    if sampling.repeats:
        often = "once" if sampling.repeats == 1 else f"{sampling.repeats} times"
        shown["repeats", ""] = f"phrases of {sampling.phrase} notes heard again {often} at most"
    if sampling.novel:
        shown["novel", ""] = f"{sampling.novel} notes on end of a training piece at most"
    if sampling.instrument != "any":
        shown["instrument", ""] = f"for the {sampling.instrument}"
    return shown


def controls_in_words(sampling: SampleSettings) -> str:
    """A way of sampling, for the middle of a sentence.

    >>> controls_in_words(SampleSettings(temperature=0.9, by_field={"pitch": 1.1}, top_p=0.95))
    'temperature 0.9, pitch 1.1, top-p 0.95'
    >>> controls_in_words(SampleSettings(temperature=0.9, repeats=1))
    'temperature 0.9, phrases of 16 notes heard again once at most'
    """
    return ", ".join(controls(sampling).values())


def origins_in_words(used: SampleSettings, given: SampleSettings, own: SampleSettings) -> str:
    """Every control in force and where it comes from.

    >>> given, own = SampleSettings(by_field={"pitch": 1.2}), SampleSettings(temperature=0.9, top_p=0.95)
    >>> origins_in_words(SampleSettings(temperature=0.9, by_field={"pitch": 1.2}, top_p=0.95), given, own)
    'Temperature 0.9 (tuned for this model), pitch 1.2 (given), top-p 0.95 (tuned for this model)'
    """
    words = (f"{text} ({source_of(*control, given, own)})" for control, text in controls(used).items())
    return ", ".join(words).capitalize()


def source_of(key: str, field: str, given: SampleSettings, own: SampleSettings) -> str:
    for name, settings in (("given", given), ("tuned for this model", own)):
        if key in settings.model_fields_set and (not field or field in getattr(settings, key)):
            return name
    return "the default"
