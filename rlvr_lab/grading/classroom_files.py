"""What students hand in, before anybody trusts it: names of people and files, texts, notebooks.

This module needs no nbgrader.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

__all__ = ["file_name", "plain_name", "printable", "read_notebook", "safe_name", "utf8"]

LARGEST = 20 << 20
NAME_BYTES = 120  # of a student; file systems take 255, and a log's name holds the sheet's too
_FORBIDDEN = re.compile(r'[\[\]*?<>:"|/\\]')


def printable(text: str, most: int = 400) -> str:
    r"""``text`` on one line, without what a terminal would obey or a file could not hold.

    >>> printable("a\nb \x1b[2J \ud800")
    'a�b �[2J �'
    """
    shown = "".join(letter if letter.isprintable() else "�" for letter in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def utf8(text: str) -> str:
    """``text`` without halves of characters, which no file can hold."""
    return re.sub("[\ud800-\udfff]", "�", text)


def safe_name(name: str) -> str:
    """A student's name as a folder can be called, here and in nbgrader's patterns and pages.

    >>> safe_name("ada [2]")
    'ada _2_'
    """
    return file_name(plain_name(name), NAME_BYTES)


def plain_name(name: str) -> str:
    """A name of any length without what file systems, patterns or pages take for something else."""
    return "".join(x if x.isprintable() else "_" for x in _FORBIDDEN.sub("_", name))


def file_name(name: str, most: int = 200) -> str:
    """``name`` for a file, at most ``most`` bytes long; a hash tells those apart that were cut."""
    plain = plain_name(name)
    if len(plain.encode()) <= most:
        return plain
    mark = "~" + hashlib.sha256(plain.encode()).hexdigest()[:8]
    return plain.encode()[: most - len(mark)].decode("utf-8", "ignore") + mark


def read_notebook(path: Path) -> dict[str, Any]:
    """The notebook in ``path``, with its cells in a shape that can be relied on.

    Raises:
        ValueError: with the reason, when it is no notebook.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is a link, not a file")
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB ({size / 2**20:.0f} MB)")
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is no text file") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})" if size else "it is empty") from None
    if not isinstance(notebook, dict) or "nbformat" not in notebook:
        raise ValueError("it is JSON, but no notebook")
    if notebook["nbformat"] != 4:
        raise ValueError(f"it has the old notebook format {notebook['nbformat']!r}")
    if type(minor := notebook.get("nbformat_minor", 0)) is not int:
        raise ValueError(f"its nbformat_minor is no number, but {minor!r}")
    cells = notebook.get("cells")
    sound = isinstance(cells, list) and all(map(_is_cell, cells))
    if not sound or not isinstance(notebook.get("metadata", {}), dict):
        raise ValueError("its cells are damaged")
    return notebook


def _is_cell(cell: Any) -> bool:
    source = cell.get("source") if isinstance(cell, dict) else None
    return (
        (
            isinstance(source, str)
            or (isinstance(source, list) and all(isinstance(s, str) for s in source))
        )
        and isinstance(cell.get("metadata", {}), dict)
        and cell.get("cell_type") in ("code", "markdown", "raw")
    )
