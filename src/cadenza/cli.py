"""The command line: parse, call one function, show its records. Heavy modules load inside commands."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cadenza import options
from cadenza.errors import CadenzaError
from cadenza.parallel import first_to_speak, launched
from cadenza.presets import build, parse_control
from cadenza.settings import INNOCENT, Settings, validate

if TYPE_CHECKING:
    from cadenza.corpus.scan import Corpus

INTERRUPTED = 130
"""The exit code by which the parser of the command line tells of Ctrl-C."""
TOGETHER = ("run", "train", "demo")
"""Commands that several processes can carry out together."""

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
    preset: str, config: Path | None, assignments: list[str] | None, files: Path | None,
    backend: str | None = None, scheduler: str | None = None, **train: Any,
) -> Settings:  # fmt: skip
    """The settings of a command; minutes given now replace the steps of a --config."""
    given = {key: value for key, value in train.items() if value is not None}
    batches = {}
    if "minutes" in given:
        given["steps"] = batches["stride_in_force"] = 0
    corpus = {"files": str(files) if files else None, "backend": backend, "scheduler": scheduler}
    corpus = {key: value for key, value in corpus.items() if value is not None}
    return build(preset, config, assignments or [], train=given, batches=batches, corpus=corpus)


def folder_for(source: str, out: Path | None) -> Path:
    return out or Path("runs") / (Path(source).resolve().name.split(".")[0] or "music")


def show(records: Iterator[Any], to_errors: bool = False) -> None:
    """Print records as they come: lines for what is said, bars for what takes long."""
    from cadenza import terminal

    terminal.show(records, terminal.errors if to_errors else terminal.console)


def refuse(reason: str, given: Mapping[str, object]) -> None:
    """Options, by name, that were given and make no sense raise `CadenzaError`."""
    names = ", ".join(
        f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None and value is not False
    )
    if names:
        raise CadenzaError(f"{reason}; leave out {names}.")


@app.command()
def run(
    source: options.Source, out: options.Out = None, preset: options.Preset = "small", minutes: options.Minutes = None, seed: options.Seed = None,
    device: options.Device = None, init: options.Init = None, set_: options.Set = None, config: options.Config = None, files: options.Files = None, resume: options.Resume = False,
    backend: options.Backend = None, scheduler: options.Scheduler = None,
) -> None:  # fmt: skip
    """The whole way: read, train, score held-out works, improvise, render, write the report."""
    settings = gather(preset, config, set_, files, backend, scheduler, minutes=minutes, seed=seed, device=device)
    from cadenza import model_file
    from cadenza.runs import stages

    show(stages.carry_out(source, settings, folder_for(source, out), model_file(init) if init else None, resume))


@app.command()
def train(
    source: options.Source, out: options.Out = None, preset: options.Preset = "small", minutes: options.Minutes = None, seed: options.Seed = None,
    device: options.Device = None, init: options.Init = None, set_: options.Set = None, config: options.Config = None, files: options.Files = None, resume: options.Resume = False,
    backend: options.Backend = None, scheduler: options.Scheduler = None,
) -> None:  # fmt: skip
    """Read a source and train a model on it, without figures, pieces or report."""
    settings = gather(preset, config, set_, files, backend, scheduler, minutes=minutes, seed=seed, device=device)
    from cadenza import model_file
    from cadenza.runs import stages

    show(stages.train(source, settings, folder_for(source, out), model_file(init) if init else None, resume))


@app.command()
def demo(out: options.DemoOut = Path("runs/demo"), minutes: options.DemoMinutes = 5) -> None:
    """Read 900 fiddle tunes, train on most of them and improvise new ones: the whole way in some minutes."""
    from cadenza.runs import stages

    show(stages.carry_out("fiddle", build(train={"minutes": minutes}), out, resume=True))


@app.command()
def inspect(
    source: options.Source, as_json: options.AsJson = False, set_: options.Set = None,
    config: options.Config = None, files: options.Files = None, backend: options.Backend = None, scheduler: options.Scheduler = None,
) -> None:  # fmt: skip
    """Show what is in a source: what would be dropped and why, instruments, range, polyphony, duplicates."""
    from cadenza import terminal
    from cadenza.corpus import scan as scanning
    from cadenza.corpus.inspection import findings
    from cadenza.corpus.sources import open_source

    settings = gather("small", config, set_, files, backend, scheduler)

    def work() -> Generator[Any, None, Corpus]:
        with open_source(source, settings) as found:
            return (yield from scanning.scan(found, settings))

    found = findings(terminal.finish(work(), terminal.errors))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        terminal.show_findings(found)


@app.command()
def scan(
    source: options.Source, out: options.ScanOut, set_: options.Set = None, config: options.Config = None, files: options.Files = None,
    backend: options.Backend = None, scheduler: options.Scheduler = None,
) -> None:  # fmt: skip
    """Read a source into a folder that can be trained on; again, only what is new or has changed is read."""
    settings = gather("small", config, set_, files, backend, scheduler)
    from cadenza.runs.scanning import scan_into

    show(scan_into(source, settings, out))


@app.command()
def evaluate(run: options.Run) -> None:
    """Score a run's model on training, validation and test works, next to baselines."""
    from cadenza import terminal
    from cadenza.runs import stages
    from cadenza.runs.folder import open_run

    opened = open_run(run)
    show(stages.evaluate(opened))
    terminal.show_metrics(opened.metrics())


@app.command()
def compare(runs_: options.Runs, as_json: options.AsJson = False) -> None:
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
def reproduce(run: options.Run, out: options.NewOut = None) -> None:
    """Do a run again from its saved settings and step counts, and say which figures match."""
    from cadenza.runs import reproduction
    from cadenza.runs.folder import open_run

    show(reproduction.reproduce(open_run(run), out or run.resolve().with_name(f"{run.resolve().name}-reproduced")))


@app.command()
def tune(run: options.Run, pieces: options.Pieces = None, seconds: options.PiecesSeconds = None) -> None:
    """Find the temperatures and the top-p with which a run's pieces are closest to its validation works."""
    from cadenza.runs import tuning
    from cadenza.runs.folder import open_run

    show(tuning.tune(open_run(run), pieces or tuning.PIECES, seconds))


@app.command()
def generate(
    model: options.Model = None, count: options.Count = 1, seconds: options.Seconds = None, notes: options.Notes = None, bars: options.Bars = None,
    ending: options.Ending = None, temperature: options.Temperature = None, top_k: options.TopK = None, top_p: options.TopP = None,
    min_p: options.MinP = None, best_of: options.BestOf = 1, instrument: options.Instrument = None, repeats: options.Repeats = None,
    novel: options.Novel = False, novel_notes: options.NovelNotes = None, seed: options.PieceSeed = None, prompt: options.Prompt = None,
    again: options.Again = None, stream: options.Stream = False, formats: options.Formats = None, out: options.PiecesOut = None,
    soundfont: options.Soundfont = None, force: options.Force = False, device: options.PieceDevice = None,
) -> None:  # fmt: skip
    """Improvise new pieces with a trained model, as `tune` found best unless an option says otherwise."""
    controls = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sample: dict[str, Any] = {
        "seconds": seconds, "notes": notes, "bars": bars, "ending": ending, "instrument": instrument,
        "repeats": repeats, "novel": novel_notes or (INNOCENT if novel else None),
    }  # fmt: skip
    if again is not None:
        others = {"count": count > 1, "seed": seed is not None, "prompt": prompt, "stream": stream}
        chosen = {"best_of": best_of > 1, "soundfont": soundfont}
        refuse("--again says how its piece is made", controls | sample | others | chosen)
        make_again(again, model, out, formats, force, device)
        return
    if model is None:
        raise CadenzaError("Which model is to improvise? Name a run folder or model file: cadenza generate runs/demo.")
    if stream:
        writing = {"best_of": best_of > 1, "out": out, "formats": formats, "soundfont": soundfont, "force": force}
        refuse("--stream writes no file and chooses none", writing)
    from cadenza import load, terminal
    from cadenza.runs import generation

    settings = for_pieces(controls, sample, count, soundfont)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    asked = generation.Asked(load(model, device or "cpu"), model, settings, seed, prompt)
    terminal.announce_compiling()
    if stream:
        show(generation.stream(asked), to_errors=True)
    else:
        place = generation.Place(out or options.PIECES, formats, not force, settings.audio)
        show(generation.generate(asked, place, best_of))


def for_pieces(
    controls: Mapping[str, str | None], sample: Mapping[str, object], count: int, soundfont: str | None
) -> Settings:
    """The settings of pieces; of sampling only what was given is set."""
    given = {key: value for key, value in sample.items() if value is not None}
    for control, text in controls.items():
        given |= parse_control(control, text) if text is not None else {}
    return validate({"sample": given | {"count": count}, "audio": {"soundfont": soundfont or ""}})


def make_again(
    path: Path, model: Path | None, out: Path | None, formats: str | None, force: bool, device: str | None
) -> None:
    """The piece of a record, by the model that the record names unless another is given."""
    from cadenza import load, terminal
    from cadenza.runs import generation, provenance

    known = provenance.read_record(path)
    where = model or provenance.model_of(path, known)
    place = generation.Place(out or options.PIECES, formats, not force, known.audio)
    terminal.announce_compiling()
    show(generation.again(path, known, load(where, device or known.device), where, place))


@app.command()
def render(
    files: options.MidiFiles, formats: options.Sounds = "mp3", out: options.SoundsOut = None, soundfont: options.Soundfont = None,
    loudness: options.Loudness = None, force: options.Force = False, set_: options.Set = None,
) -> None:  # fmt: skip
    """Turn MIDI files into sound."""
    from cadenza.runs.sound import render_files

    given = {"soundfont": soundfont, "loudness": loudness}
    settings = build(assignments=set_ or [], audio={key: value for key, value in given.items() if value is not None})
    show(render_files(files, settings, formats, out, keep=not force))


@app.command()
def plot(
    target: options.Target, formats: options.Pictures = "svg,png", out: options.PicturesOut = None, force: options.Force = False,
) -> None:  # fmt: skip
    """Draw all of a run's pictures, or a MIDI file's piano roll."""
    from cadenza.runs.folder import open_run
    from cadenza.runs.pictures import plot_file, write_plots

    if target.is_dir():
        show(write_plots(open_run(target), formats, out, keep=not force))
    else:
        show(plot_file(target, formats, out, keep=not force))


@app.command()
def report(run: options.Run) -> None:
    """Write a run's report.html anew."""
    from cadenza.runs import stages
    from cadenza.runs.folder import open_run

    show(stages.report(open_run(run)))


@app.command()
def verify(run: options.Run) -> None:
    """Prove that nothing in a run was altered, from the report back to the files that it learned from."""
    from cadenza.runs import proof
    from cadenza.runs.folder import open_run

    show(proof.prove(open_run(run)))


@app.command()
def licences(as_json: options.AsJson = False) -> None:
    """List the licences of everything that Cadenza needs, its tests included, as the installed packages state them."""
    from dataclasses import asdict

    from cadenza import terminal
    from cadenza.licences import licences

    found = licences()
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        terminal.show_licences(found)


@app.command()
def studio(
    folder: options.StudioFolder = Path(),
    host: options.Host = "127.0.0.1",
    port: options.Port = 7878,
    open_: options.Open = True,
) -> None:
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
def corpora_get(name: options.Corpus, from_: options.From = None) -> None:
    """Bring a corpus to this machine; its content is checked by SHA-256."""
    from cadenza.corpus import catalogue
    from cadenza.terminal import show_transfer

    show_transfer(name, catalogue.get(name, from_))
    corpus = catalogue.lookup(name)
    typer.echo(f"{name}: {catalogue.here(name)}\nLicence: {corpus.licence}\nCite: {corpus.citation}")


def main() -> None:
    """Run the command line; a user's mistake prints one sentence and exits with code 2."""
    try:
        if launched() and not {*sys.argv[1:2]} & set(TOGETHER):
            raise CadenzaError(f"torchrun is for {', '.join(TOGETHER)}; start other commands without it.")
        app()
    except CadenzaError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            complain(
                "interrupted; no file is left half written. A scan goes on with the same command, a run with --resume."
            )
        raise


def complain(sentence: str) -> None:
    """Say on standard error why the program ends; several processes say it once."""
    if first_to_speak():
        print(f"cadenza: {sentence}", file=sys.stderr)
