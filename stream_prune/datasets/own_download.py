"""Files that the user has downloaded: found, checked for their layout, and read block by block.

Such data sets are not fetched by this project: they want an account, an agreement, or more room
than a test run has. What lies in the user's folder is read as it was published, packed or not, and
never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from stream_prune.errors import ConfigError, RunError

BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Download:
    """What a data set's publisher offers.

    Attributes:
        dataset: its name in ``stream-prune datasets list``.
        archive: what is downloaded.
        source: from where, in words or as an address.
    """

    dataset: str
    archive: str
    source: str

    def find(self, folder: str | Path, *names: str) -> Path:
        """The file of one of these names, in the folder or in one folder in it.

        Raises:
            ConfigError: there is none; says which file of which archive is expected. Or there are
                several folders with one.
        """
        for name in names:
            for pattern in (name, f"*/{name}", f"*/*/{name}"):
                found = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
                places = sorted({path.parent for path in found})
                if len(places) > 1:
                    raise ConfigError(
                        f"{folder}: {name} lies in {', '.join(map(str, places))}: name the folder "
                        f"that {self.archive} was unpacked into"
                    )
                if found:
                    return found[0]
        raise ConfigError(f"{folder}: there is no {' or '.join(names)}: {self.how()}")

    def how(self) -> str:
        """Where the data come from, and where they belong."""
        return (
            f"the data set {self.dataset} is read from your own download of {self.archive} "
            f"({self.source}): unpack it into that folder"
        )


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out, as its publisher says.

    Attributes:
        columns: name and type of every column, in order.
        header: whether the first line names them.
        delimiter: between values; of one or two characters.
        quoted: values may be in double quotes.
        encoding: of the text.
    """

    columns: Mapping[str, pa.DataType] = field(hash=False)
    header: bool = False
    delimiter: str = "\t"
    quoted: bool = False
    encoding: str = "utf-8"


def read(path: Path, layout: Layout, download: Download) -> Iterator[pa.Table]:
    """The rows of a file, block by block; a file that ends in .gz is unpacked on the way.

    An empty value is null.

    Raises:
        RunError: the file can't be read, or is not laid out like that; says which file of which
            archive is expected.
    """
    line = 1
    try:
        for block in _blocks(path):
            text = block
            if line == 1 and layout.header:
                first, _, text = block.partition(b"\n")
                _check_header(path, first, layout, download)
                line = 2
            if not text:
                continue
            try:
                yield _parse(text, layout)
            except pa.ArrowInvalid as error:
                raise RunError(
                    f"{path}: from line {line}: {error}: {_expected(layout, download)}"
                ) from None
            line += text.count(b"\n")
    except (OSError, EOFError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def whole(path: Path, layout: Layout, download: Download) -> pa.Table:
    """All rows at once: for what describes users and items, never for a log. Raises as `read`."""
    tables = list(read(path, layout, download))
    schema = pa.schema(list(layout.columns.items()))
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()


def first(tables: Iterator[pa.Table], rows: int | None) -> Iterator[pa.Table]:
    """The first ``rows`` rows; all without a number. What comes after them is not read."""
    left = rows
    for table in tables:
        if left is None:
            yield table
            continue
        yield table.slice(0, left)
        left -= min(left, table.num_rows)
        if not left:
            return


def made_from(layout: int, rows: int | None, *files: Path) -> str:
    """Names a prepared file by what it was made of: code, number of rows, and the user's files."""
    stats = [(path.name, path.stat()) for path in files]
    return ":".join(
        [f"{layout}", f"{rows}", *(f"{name}={s.st_size}@{s.st_mtime_ns}" for name, s in stats)]
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in pieces that end with a line."""
    rest = b""
    with pa.input_stream(path, compression="gzip" if path.suffix == ".gz" else None) as stream:
        while block := stream.read(BLOCK_BYTES):
            whole, newline, tail = block.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = tail
            else:
                rest += block
    if rest:
        yield rest + b"\n"


def _parse(text: bytes, layout: Layout) -> pa.Table:
    if layout.encoding != "utf-8":
        text = text.decode(layout.encoding).encode()
    delimiter = layout.delimiter
    if len(delimiter) == 2:  # one that no text holds, in place of two characters
        text, delimiter = text.replace(delimiter.encode(), b"\x1f"), "\x1f"
    names = list(layout.columns)
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(
            column_names=names, use_threads=False, block_size=len(text) + 1
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, quote_char='"' if layout.quoted else False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict(layout.columns),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _check_header(path: Path, line: bytes, layout: Layout, download: Download) -> None:
    found = line.decode("utf-8-sig", errors="replace").strip("\r").split(layout.delimiter)
    if found != list(layout.columns):
        raise RunError(
            f"{path}: the first line is {','.join(found)[:200]!r}: {_expected(layout, download)}"
        )


def _expected(layout: Layout, download: Download) -> str:
    names = list(layout.columns)
    shown = ", ".join(names if len(names) <= 12 else [*names[:6], "...", *names[-2:]])
    between = {"\t": "tabs", ",": "commas"}.get(layout.delimiter, repr(layout.delimiter))
    return (
        f"expected {len(names)} values ({shown}) between {between}"
        f"{', named in the first line' if layout.header else ''}, as in {download.archive} "
        f"({download.source})"
    )
