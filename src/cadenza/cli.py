"""The command line: parse, call one function, show its records. Heavy modules load inside commands."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadenza.errors import CadenzaError
from cadenza.options import (
    ConfigOption,
    DeviceOption,
    FilesOption,
    ForceOption,
    FormatsOption,
    InitOption,
    MinPOption,
    MinutesOption,
    OutOption,
    PicturesOption,
    PresetOption,
    ResumeOption,
    RunArgument,
    SeedOption,
    SetOption,
    SoundfontOption,
    SoundsOption,
    SourceArgument,
    TemperatureOption,
    TopKOption,
    TopPOption,
    about,
)
from cadenza.presets import build, parse_control
from cadenza.settings import INNOCENT, AudioSettings, SampleSettings, Settings, TrainSettings, validate

if TYPE_CHECKING:
    from cadenza.corpus.scan import Corpus

app = typer.Typer(
    name="cadenza",
    help="Learn the music in a folder of MIDI files and improvise new pieces.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpora = typer.Typer(help="Corpora that are known by name.", no_args_is_help=True)
app.add_typer(corpora, name="corpora")


def gather(
    preset: str, config: Path | None, assignments: list[str] | None, files: Path | None, **train: Any
) -> Settings:
    """The settings of a command; minutes given now replace the steps of a --config."""
    given = {key: value for key, value in train.items() if value is not None}
    batches = {}
    if "minutes" in given:
        given["steps"] = batches["stride_in_force"] = 0
    corpus = {"files": str(files)} if files else {}
    return build(preset, config, assignments or [], train=given, batches=batches, corpus=corpus)


def folder_for(source: str, out: Path | None) -> Path:
    return out or Path("runs") / (Path(source).resolve().name.split(".")[0] or "music")


def show(records: Iterator[Any], to_errors: bool = False) -> None:
    """Print records as they come: lines for what is said, bars for what takes long."""
    from cadenza import terminal

    terminal.show(records, terminal.errors if to_errors else terminal.console)


def refuse(reason: str, options: Mapping[str, object]) -> None:
    """Options, by name, that were given and make no sense raise `CadenzaError`."""
    given = ", ".join(
        f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, "", False)
    )
    if given:
        raise CadenzaError(f"{reason}; leave out {given}.")


@app.command()
def run(
    source: SourceArgument, out: OutOption = None, preset: PresetOption = "small", minutes: MinutesOption = None, seed: SeedOption = None,
    device: DeviceOption = None, init: InitOption = None, set_: SetOption = None, config: ConfigOption = None, files: FilesOption = None, resume: ResumeOption = False,
) -> None:  # fmt: skip
    """The whole way: read, train, score held-out works, improvise, render, write the report."""
    settings = gather(preset, config, set_, files, minutes=minutes, seed=seed, device=device)
    from cadenza import model_file
    from cadenza.runs import stages

    show(stages.carry_out(source, settings, folder_for(source, out), model_file(init) if init else None, resume))


@app.command()
def train(
    source: SourceArgument, out: OutOption = None, preset: PresetOption = "small", minutes: MinutesOption = None, seed: SeedOption = None,
    device: DeviceOption = None, init: InitOption = None, set_: SetOption = None, config: ConfigOption = None, files: FilesOption = None, resume: ResumeOption = False,
) -> None:  # fmt: skip
    """Read a source and train a model on it, without figures, pieces or report."""
    settings = gather(preset, config, set_, files, minutes=minutes, seed=seed, device=device)
    from cadenza import model_file
    from cadenza.runs import stages

    show(stages.train(source, settings, folder_for(source, out), model_file(init) if init else None, resume))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run folder; an earlier demo there is reused.")] = Path(
        "runs/demo"
    ),
    minutes: Annotated[float, typer.Option("--minutes", help=about(TrainSettings, "minutes"))] = 5,
) -> None:
    """Read 900 fiddle tunes, train on most of them and improvise new ones: the whole way in some minutes."""
    from cadenza.runs import stages

    show(stages.carry_out("fiddle", build(train={"minutes": minutes}), out, resume=True))


@app.command()
def inspect(
    source: SourceArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    set_: SetOption = None,
    config: ConfigOption = None,
    files: FilesOption = None,
) -> None:
    """Show what is in a source: what would be dropped and why, instruments, range, polyphony, duplicates."""
    from cadenza import terminal
    from cadenza.corpus.inspection import findings
    from cadenza.corpus.scan import scan
    from cadenza.corpus.sources import open_source

    settings = gather("small", config, set_, files)

    def work() -> Generator[Any, None, Corpus]:
        with open_source(source, settings) as found:
            return (yield from scan(found, settings))

    found = findings(terminal.finish(work(), terminal.errors))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        terminal.show_findings(found)


@app.command()
def evaluate(run: RunArgument) -> None:
    """Score a run's model on training, validation and test works, next to baselines."""
    from cadenza import terminal
    from cadenza.runs import stages
    from cadenza.runs.folder import open_run

    opened = open_run(run)
    show(stages.evaluate(opened))
    terminal.show_metrics(opened.metrics())


@app.command()
def compare(
    runs_: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders with the same manifest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Put the held-out figures of runs on the same split side by side, with intervals of the differences."""
    from cadenza import terminal
    from cadenza.runs import comparison
    from cadenza.runs.folder import open_run

    found = comparison.compare([open_run(folder) for folder in runs_])
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        terminal.show_comparison(found)


@app.command()
def reproduce(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option("--out", help="The new folder; RUN-reproduced unless given.")] = None,
) -> None:
    """Do a run again from its saved settings and step counts, and say which figures match."""
    from cadenza.runs import reproduction
    from cadenza.runs.folder import open_run

    show(reproduction.reproduce(open_run(run), out or run.resolve().with_name(f"{run.resolve().name}-reproduced")))


@app.command()
def tune(
    run: RunArgument,
    pieces: Annotated[int | None, typer.Option("--pieces", min=2, help="Pieces improvised with each setting.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", help="Their longest time, seconds; those of validation pieces, at most 30, unless given."
        ),
    ] = None,
) -> None:
    """Find the temperatures and the top-p with which a run's pieces are closest to its validation works."""
    from cadenza.runs import tuning
    from cadenza.runs.folder import open_run

    show(tuning.tune(open_run(run), pieces or tuning.PIECES, seconds))


@app.command()
def generate(
    model: Annotated[
        Path | None, typer.Argument(metavar="RUN|MODEL", help="A run folder or a model file.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many pieces.")] = 1,
    seconds: Annotated[float | None, typer.Option("--seconds", help=about(SampleSettings, "seconds"))] = None,
    notes: Annotated[int | None, typer.Option("--notes", help=about(SampleSettings, "notes"))] = None,
    bars: Annotated[int | None, typer.Option("--bars", help=about(SampleSettings, "bars"))] = None,
    ending: Annotated[str | None, typer.Option("--ending", help=about(SampleSettings, "ending"))] = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    best_of: Annotated[
        int, typer.Option("--best-of", min=1, help="Make so many times as many pieces and keep the best.")
    ] = 1,
    instrument: Annotated[str | None, typer.Option("--instrument", help=about(SampleSettings, "instrument"))] = None,
    repeats: Annotated[int | None, typer.Option("--repeats", help=about(SampleSettings, "repeats"))] = None,
    novel: Annotated[
        bool,
        typer.Option("--novel", help=f"Leave training pieces after {INNOCENT} notes on end; needs the run folder."),
    ] = False,
    novel_notes: Annotated[
        int | None, typer.Option("--novel-notes", min=2, help="Like --novel, after so many notes.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="The same seed gives the same pieces; drawn afresh unless given."),
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option("--prompt", help="A MIDI file to go on from; its notes are kept.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option("--again", metavar="FILE", help="The .json beside a piece: make the same bytes once more."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print every note as it is made, a JSON object a line; write no file.")
    ] = False,
    formats: FormatsOption = "",
    out: Annotated[Path, typer.Option("--out", help="Folder for the pieces.")] = Path("pieces"),
    soundfont: SoundfontOption = "",
    force: ForceOption = False,
    device: Annotated[str | None, typer.Option("--device", help="cpu (unless given), cuda, mps or auto.")] = None,
) -> None:
    """Improvise new pieces with a trained model, as `tune` found best unless an option says otherwise."""
    from cadenza import load
    from cadenza.runs import generation, provenance

    controls = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sample: dict[str, Any] = {
        "seconds": seconds, "notes": notes, "bars": bars, "ending": ending, "instrument": instrument,
        "repeats": repeats, "novel": novel_notes or (INNOCENT if novel else None),
    }  # fmt: skip
    writing = {"best_of": best_of > 1, "formats": formats, "soundfont": soundfont, "force": force}
    if again is not None:
        others = {"count": count > 1, "seed": seed is not None, "prompt": prompt, "stream": stream}
        chosen = {"best_of": best_of > 1, "soundfont": soundfont}
        refuse("--again says how its piece is made", controls | sample | others | chosen)
        known = provenance.read_record(again)
        where = model or Path(known.model)
        place = generation.Place(out, formats, not force, known.audio)
        show(generation.again(again, known, load(where, device or known.device), where, place))
        return
    if model is None:
        raise CadenzaError(
            "Which model is to improvise? Give a run folder or a model file: cadenza generate runs/demo."
        )
    given = {key: value for key, value in sample.items() if value is not None}
    for control, text in controls.items():
        given |= parse_control(control, text) if text is not None else {}
    settings = validate({"sample": given | {"count": count}, "audio": {"soundfont": soundfont}})
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    asked = generation.Asked(load(model, device or "cpu"), model, settings, seed, prompt)
    if stream:
        refuse("--stream writes no file and chooses none", writing)
        show(generation.stream(asked), to_errors=True)
    else:
        show(generation.generate(asked, generation.Place(out, formats, not force, settings.audio), best_of))


@app.command()
def render(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="MIDI files.")],
    formats: SoundsOption = "mp3",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the sound; beside each file unless given.")
    ] = None,
    soundfont: SoundfontOption = None,
    loudness: Annotated[float | None, typer.Option("--loudness", help=about(AudioSettings, "loudness"))] = None,
    force: ForceOption = False,
    set_: SetOption = None,
) -> None:
    """Turn MIDI files into sound."""
    from cadenza.runs.sound import render_files

    given = {"soundfont": soundfont, "loudness": loudness}
    settings = build(assignments=set_ or [], audio={key: value for key, value in given.items() if value is not None})
    show(render_files(files, settings, formats, out, keep=not force))


@app.command()
def plot(
    target: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a MIDI file for its piano roll.")
    ],
    formats: PicturesOption = "svg,png",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pictures; beside the file unless given.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Draw all of a run's pictures, or a MIDI file's piano roll."""
    from cadenza.runs.folder import open_run
    from cadenza.runs.pictures import plot_file, write_plots

    if target.is_dir():
        show(write_plots(open_run(target), formats, out, keep=not force))
    else:
        show(plot_file(target, formats, out, keep=not force))


@app.command()
def report(run: RunArgument) -> None:
    """Write a run's report.html anew."""
    from cadenza.runs import stages
    from cadenza.runs.folder import open_run

    show(stages.report(open_run(run)))


@app.command()
def studio(
    folder: Annotated[Path, typer.Option("--folder", help="Where music, runs and kept pieces lie.")] = Path(),
    host: Annotated[str, typer.Option("--host", help="Where to listen; beyond this machine it takes a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")] = 7878,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Show the page in a browser.")] = True,
) -> None:  # fmt: skip
    """Play, train and listen on a page of this machine."""
    from cadenza.web.server import serve

    show(serve(folder, host, port, open_))


@corpora.command("list")
def corpora_list() -> None:
    """Names, terms and citations."""
    from cadenza import terminal
    from cadenza.corpus import catalogue

    terminal.show_corpora({name: (corpus, catalogue.here(name)) for name, corpus in catalogue.CORPORA.items()})


@corpora.command("get")
def corpora_get(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    from_: Annotated[
        Path | None, typer.Option("--from", help="Take it from this archive instead of the network.")
    ] = None,
) -> None:
    """Bring a corpus to this machine; its content is checked by SHA-256."""
    from cadenza.corpus import catalogue
    from cadenza.terminal import show_transfer

    show_transfer(name, catalogue.get(name, from_))
    corpus = catalogue.lookup(name)
    typer.echo(f"{name}: {catalogue.here(name)}\nLicence: {corpus.licence}\nCite: {corpus.citation}")


def main() -> None:
    """Run the command line; a user's mistake prints one sentence and exits with code 2."""
    try:
        app()
    except CadenzaError as error:
        print(f"cadenza: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("cadenza: interrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
