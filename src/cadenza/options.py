"""Options that several commands take, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cadenza.presets import PRESETS
from cadenza.settings import AudioSettings, CorpusSettings, SampleSettings, TrainSettings


def about(section: type[Any], key: str) -> str:
    """A setting's own sentence, as the help of the option that sets it."""
    return str(section.model_fields[key].description)


SourceArgument = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A folder (searched recursively), a .zip or .tar archive, or a corpus name."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/NAME unless given.")]
PresetOption = Annotated[
    str,
    typer.Option("--preset", help=f"One of {', '.join(PRESETS)}: sizes of model, and the study it all began from."),
]
FilesOption = Annotated[Path | None, typer.Option("--files", metavar="LIST", help=about(CorpusSettings, "files"))]
MinutesOption = Annotated[float | None, typer.Option("--minutes", help=about(TrainSettings, "minutes"))]
SeedOption = Annotated[int | None, typer.Option("--seed", help=about(TrainSettings, "seed"))]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help=f"cpu, cuda, mps or auto. {about(TrainSettings, 'device')}")
]
InitOption = Annotated[
    Path | None,
    typer.Option("--init", help="Fine-tune this run's model, or this model file: how five files become useful."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; may be given several times."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of settings, such as a run's config.toml.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the folder.")]
FormatsOption = Annotated[
    str, typer.Option("--formats", help="Any of mid, mp3, wav, flac, ogg, png, svg, with commas; mid,mp3 unless given.")
]
SoundsOption = Annotated[str, typer.Option("--formats", help="Any of mp3, wav, flac, ogg, with commas.")]
PicturesOption = Annotated[str, typer.Option("--formats", help="Any of png, svg, with commas.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace other files of the same name.")]
SoundfontOption = Annotated[str | None, typer.Option("--soundfont", help=about(AudioSettings, "soundfont"))]


def control(key: str, metavar: str, example: str) -> Any:
    """The option of a control that single fields may have of their own."""
    text = f"{about(SampleSettings, key)} Of single fields: {example}."
    return typer.Option(f"--{key.replace('_', '-')}", metavar=f"{metavar}|FIELD={metavar},...", help=text)


TemperatureOption = Annotated[str | None, control("temperature", "NUMBER", "pitch=1.1,duration=0.8")]
TopKOption = Annotated[str | None, control("top_k", "NUMBER", "pitch=5")]
TopPOption = Annotated[str | None, control("top_p", "SHARE", "0.95,pitch=0.9")]
MinPOption = Annotated[str | None, control("min_p", "SHARE", "pitch=0.05")]
