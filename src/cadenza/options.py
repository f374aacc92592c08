"""Arguments and options of the commands, each with its type and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cadenza.presets import PRESETS
from cadenza.settings import INNOCENT, AudioSettings, CorpusSettings, SampleSettings, TrainSettings


def about(section: type[Any], key: str) -> str:
    """A setting's own sentence, as the help of the option that sets it."""
    return str(section.model_fields[key].description)


def sampling(key: str) -> Any:
    """The option of a setting of sampling."""
    return typer.Option(f"--{key}", help=about(SampleSettings, key))


def control(key: str, metavar: str, example: str) -> Any:
    """The option of a control that single fields may have of their own."""
    text = f"{about(SampleSettings, key)} Of single fields: {example}."
    return typer.Option(f"--{key.replace('_', '-')}", metavar=f"{metavar}|FIELD={metavar},...", help=text)


# What is read or made, and how

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder (searched recursively), what cadenza scan made, a .zip or .tar archive, or a corpus name.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders with the same manifest.")]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/NAME unless given.")]
ScanOut = Annotated[
    Path, typer.Option("--out", help="The folder that keeps what was read; made or brought up to date.")
]
DemoOut = Annotated[Path, typer.Option("--out", help="The run folder; an earlier demo there is reused.")]
NewOut = Annotated[Path | None, typer.Option("--out", help="The new folder; RUN-reproduced unless given.")]
Preset = Annotated[
    str,
    typer.Option("--preset", help=f"One of {', '.join(PRESETS)}: sizes of model, and the study it all began from."),
]
Files = Annotated[Path | None, typer.Option("--files", metavar="LIST", help=about(CorpusSettings, "files"))]
Backend = Annotated[str | None, typer.Option("--backend", help=about(CorpusSettings, "backend"))]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help=about(CorpusSettings, "scheduler"))
]
Minutes = Annotated[float | None, typer.Option("--minutes", help=about(TrainSettings, "minutes"))]
DemoMinutes = Annotated[float, typer.Option("--minutes", help=about(TrainSettings, "minutes"))]
Seed = Annotated[int | None, typer.Option("--seed", help=about(TrainSettings, "seed"))]
Device = Annotated[
    str | None, typer.Option("--device", help=f"cpu, cuda, mps or auto. {about(TrainSettings, 'device')}")
]
Init = Annotated[
    Path | None,
    typer.Option("--init", help="Fine-tune this run's model, or this model file: how five files become useful."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; may be given several times."),
]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings, such as a run's config.toml.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace other files of the same name.")]
Corpus = Annotated[str, typer.Argument(help="The corpus.")]
From = Annotated[Path | None, typer.Option("--from", help="Take it from this archive instead of the network.")]

# What is sampled

Model = Annotated[
    Path | None, typer.Argument(metavar="RUN|MODEL", help="A run folder or a model file.", show_default=False)
]
Count = Annotated[int, typer.Option("-n", "--count", min=1, help="How many pieces.")]
Seconds = Annotated[float | None, sampling("seconds")]
Notes = Annotated[int | None, sampling("notes")]
Bars = Annotated[int | None, sampling("bars")]
Ending = Annotated[str | None, sampling("ending")]
Temperature = Annotated[str | None, control("temperature", "NUMBER", "pitch=1.1,duration=0.8")]
TopK = Annotated[str | None, control("top_k", "NUMBER", "pitch=5")]
TopP = Annotated[str | None, control("top_p", "SHARE", "0.95,pitch=0.9")]
MinP = Annotated[str | None, control("min_p", "SHARE", "pitch=0.05")]
BestOf = Annotated[int, typer.Option("--best-of", min=1, help="Make so many times as many pieces and keep the best.")]
Instrument = Annotated[str | None, sampling("instrument")]
Repeats = Annotated[int | None, sampling("repeats")]
Novel = Annotated[
    bool,
    typer.Option("--novel", help=f"Leave training pieces after {INNOCENT} notes on end; needs the run folder."),
]
NovelNotes = Annotated[int | None, typer.Option("--novel-notes", min=2, help="Like --novel, after so many notes.")]
PieceSeed = Annotated[
    int | None, typer.Option("--seed", min=0, help="The same seed gives the same pieces; drawn afresh unless given.")
]
Prompt = Annotated[Path | None, typer.Option("--prompt", help="A MIDI file to go on from; its notes are kept.")]
Again = Annotated[
    Path | None,
    typer.Option("--again", metavar="FILE", help="The .json beside a piece: make the same bytes once more."),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Print every new note as it is made, a JSON object a line; write no file. Pieces come side by side, notes of a prompt not at all.",
    ),
]
PIECES = Path("pieces")
PiecesOut = Annotated[Path | None, typer.Option("--out", help=f"Folder for the pieces; {PIECES} unless given.")]
PieceDevice = Annotated[str | None, typer.Option("--device", help="cpu (unless given), cuda, mps or auto.")]
Pieces = Annotated[int | None, typer.Option("--pieces", min=2, help="Pieces improvised with each setting.")]
PiecesSeconds = Annotated[
    float | None,
    typer.Option(
        "--seconds", help="Their longest time, seconds; those of validation pieces, at most 30, unless given."
    ),
]

# What is heard and seen

Formats = Annotated[
    str | None,
    typer.Option("--formats", help="Any of mid, mp3, wav, flac, ogg, png, svg, with commas; mid,mp3 unless given."),
]
Sounds = Annotated[str, typer.Option("--formats", help="Any of mp3, wav, flac, ogg, with commas.")]
Pictures = Annotated[str, typer.Option("--formats", help="Any of png, svg, with commas.")]
Soundfont = Annotated[str | None, typer.Option("--soundfont", help=about(AudioSettings, "soundfont"))]
Loudness = Annotated[float | None, typer.Option("--loudness", help=about(AudioSettings, "loudness"))]
MidiFiles = Annotated[list[Path], typer.Argument(metavar="FILE...", help="MIDI files.")]
Target = Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a MIDI file for its piano roll.")]
SoundsOut = Annotated[Path | None, typer.Option("--out", help="Folder for the sound; beside each file unless given.")]
PicturesOut = Annotated[
    Path | None, typer.Option("--out", help="Folder for the pictures; beside the file unless given.")
]

# The studio

StudioFolder = Annotated[Path, typer.Option("--folder", help="Where music, runs and kept pieces lie.")]
Host = Annotated[str, typer.Option("--host", help="Where to listen; beyond this machine it takes a token.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Show the page in a browser.")]
