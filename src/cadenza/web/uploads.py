"""Files out of a form, straight to disk: limits are watched while bytes come in, names are made here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import python_multipart
from fastapi import Request
from python_multipart.exceptions import FormParserError

from cadenza.corpus.unpack import ARCHIVE_SUFFIXES, MUSIC_SUFFIXES, is_archive, printable
from cadenza.web.problems import Trouble
from cadenza.web.safety import claimed

MOST_BYTES, LARGEST_BYTES, MOST_FILES = 500 << 20, 64 << 20, 10_000
LONGEST_NAME = 200


@dataclass
class Form:
    """What has come in: the names of files by the file that they lie in, and the name of them all."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    name: str = ""


class Receiver:
    """Takes the parts of a form as the parser finds them."""

    def __init__(self, folder: Path, most_files: int) -> None:
        self.form, self.most_files = Form(folder), most_files
        self.out: IO[bytes] | None = None
        self.size = self.most = 0
        self.ended = False
        self.begin_part()

    def begin_part(self) -> None:
        self.header, self.value = b"", b""
        self.headers: dict[str, bytes] = {}
        self.text = b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        self.headers[self.header.decode("latin-1").lower()] = self.value
        self.header, self.value = b"", b""

    def headers_finished(self) -> None:
        _, options = python_multipart.multipart.parse_options_header(self.headers.get("content-disposition", b""))
        self.field_name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            return
        if len(self.form.names) >= self.most_files:
            raise Trouble(413, f"These are more than {self.most_files:,} files; send fewer, or an archive.")
        name = shown_name(options[b"filename"])
        stored = f"{len(self.form.names):07d}{suffix_of(name)}"
        self.form.names[stored] = name
        self.size, self.most = 0, MOST_BYTES if is_archive(Path(stored)) else LARGEST_BYTES
        self.out = open(self.form.folder / stored, "wb")  # noqa: SIM115

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self.out is None:
            self.text += data[start:end]
            if len(self.text) > 4 * LONGEST_NAME:
                raise Trouble(400, f"A name has at most {LONGEST_NAME} letters.")
            return
        self.size += end - start
        if self.size > self.most:
            name = list(self.form.names.values())[-1]
            raise Trouble(413, f"{name}: larger than {self.most >> 20} MiB; leave it out.")
        self.out.write(data[start:end])

    def part_end(self) -> None:
        if self.out is None:
            if self.field_name != "name":
                raise Trouble(400, "The form has files and a name; leave out what else there is.")
            self.form.name = self.text.decode("utf-8", "replace")[: LONGEST_NAME + 1].strip()
            if len(self.form.name) > LONGEST_NAME:
                raise Trouble(400, f"A name has at most {LONGEST_NAME} letters.")
        self.close()

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self.out is not None:
            self.out.close()
            self.out = None


async def receive(request: Request, folder: Path, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> Form:
    """Write the files of a form into a folder; too much of it, or what is no form, is `Trouble`."""
    _, options = python_multipart.multipart.parse_options_header(request.headers.get("content-type", ""))
    if not options.get(b"boundary"):
        raise Trouble(400, "This is no form with files: it names no boundary.")
    check_size(claimed(request.headers), most_bytes)
    receiver = Receiver(folder, most_files)
    seen = 0
    try:
        parser = python_multipart.MultipartParser(options[b"boundary"], callbacks(receiver))
        async for block in request.stream():
            seen += len(block)
            check_size(seen, most_bytes)
            parser.write(block)
        parser.finalize()
    except FormParserError:
        raise Trouble(400, "This is no whole form with files; send it again.") from None
    finally:
        receiver.close()
    if not receiver.ended:
        raise Trouble(400, "This is no whole form with files; send it again.")
    if not receiver.form.names:
        raise Trouble(400, "There is no file in it; choose at least one.")
    return receiver.form


def callbacks(receiver: Receiver) -> python_multipart.multipart.MultipartCallbacks:
    return {
        "on_part_begin": receiver.begin_part, "on_part_data": receiver.part_data, "on_part_end": receiver.part_end,
        "on_header_field": receiver.header_field, "on_header_value": receiver.header_value,
        "on_header_end": receiver.header_end, "on_headers_finished": receiver.headers_finished, "on_end": receiver.end,
    }  # fmt: skip


def check_size(size: int, most: int) -> None:
    if size > most:
        raise Trouble(413, f"This is more than {most >> 20:,} MiB in all; send less at a time.")


def shown_name(raw: bytes) -> str:
    """The last part of the name that a file came with, on one line.

    >>> shown_name(b"../../x.mid"), shown_name(b"a/b\\\\c.mid"), shown_name(b"")
    ('x.mid', 'c.mid', 'file without a name')
    """
    name = printable(raw.decode("utf-8", "replace").replace("\\", "/").rstrip("/").rpartition("/")[2]).strip()
    name = name.replace("\0", "")
    if name in ("", ".", ".."):
        return "file without a name"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 8]}…{name[-7:]}"


def suffix_of(name: str) -> str:
    """The ending that says what a file is, of those that are known."""
    return next((ending for ending in (*ARCHIVE_SUFFIXES, *MUSIC_SUFFIXES) if name.lower().endswith(ending)), "")
