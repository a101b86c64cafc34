"""Files and folders on the command line that will be written: tried before anything starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click


def writable_folder(context: click.Context, option: click.Parameter, folder: Path) -> Path:
    """A folder in which something can be made, or that can be made itself: found by trial."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise click.BadParameter(f"{there}: not a directory", context, option)
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise click.BadParameter(f"{folder}: cannot be written: {error.strerror}", context, option) from error
    return folder


def writable_file(context: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """A file that can be written where it is to be; "-" is standard output."""
    if file is not None and str(file) != "-":
        if not file.parent.is_dir():
            raise click.BadParameter(f"{file}: there is no directory {file.parent}", context, option)
        writable_folder(context, option, file.parent)
    return file
