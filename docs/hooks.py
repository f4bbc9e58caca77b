"""What MkDocs does beyond plain pages: the configuration's reference, and links into the code."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from stream_prune.cli.config_reference import reference

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``configuration.md``, made from the classes that read a configuration."""
    files.append(File.generated(config, "configuration.md", content=reference()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link out of docs/ works in a checkout only: here it becomes the file's name."""

    def named(found: re.Match[str]) -> str:
        text, path = found.groups()
        return f"`{path}`" if path in text else f"{text} (`{path}`)"

    return _OUTSIDE.sub(named, markdown)
