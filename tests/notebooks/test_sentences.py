"""A sentence that says "always", "in every seed", "because" stands beside a claim, or was looked at.

What a claim shows is checked when the notebooks run. Here the sentences outside the reach of a claim
are listed: those with a word that data could refute, in a Markdown cell that does not touch a cell
that makes a claim. Each is either rewritten, or claimed, or entered in ``looked_at/<notebook>.txt``
with the reason why it needs no claim (``sentence's beginning | reason``): it is mathematics, a
definition, or a statement about the course itself.
"""

import re
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).parent
COURSE = sorted((HERE.parents[1] / "notebooks").glob("*.ipynb"))

STRONG = re.compile(
    r"\b(all (?:\w+ )?seeds|(?:every|each) (?:\w+ )?seeds?|in (?:all|every) (?:\w+ )?(?:case|run|seed)s?"
    r"|(?:five|ten) (?:of|out of) (?:five|ten)|always|never|no (?:\w+ )?(?:effect|difference)|the same"
    r"|identical(?:ly)?|coincide[sd]?|do(?:es)? not (?:matter|change|differ|show)|proves?|because"
    r"|that is why|the (?:cause|reason)|due to|caused by|therefore|hence)\b",
    re.IGNORECASE,
)
CLAIM = re.compile(r"^\s*claim\(", re.MULTILINE)
SENTENCE = re.compile(r"(?<=[.!?:])[\s*_)\"”]+(?=[A-Z“\"(*_$`])|\n\s*\n|\n\s*(?:[-*|#]|\d+\.)\s*")


def sentences(markdown: str) -> list[str]:
    """The sentences of a Markdown text, without formulas, code and links."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = (" ".join(part.split()).strip("#*_ |-") for part in SENTENCE.split(text))
    return [part for part in found if part]


def unclaimed(notebook: nbformat.NotebookNode) -> list[str]:
    """Strong sentences in Markdown cells that stand neither right before nor right after a claim."""
    cells = notebook.cells
    found = []
    for i, cell in enumerate(cells):
        beside = cells[max(i - 1, 0) : i + 2]
        claimed = any(other.cell_type == "code" and CLAIM.search(other.source) for other in beside)
        if cell.cell_type == "markdown" and not claimed:
            found += [part for part in sentences(cell.source) if STRONG.search(part)]
    return found


def looked_at(stem: str) -> dict[str, str]:
    """Beginning of a sentence → why it needs no claim."""
    file = HERE / "looked_at" / f"{stem}.txt"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    entries = dict(line.rsplit(" | ", 1) for line in lines if line and not line.startswith("#"))
    return {beginning.strip(): reason.strip() for beginning, reason in entries.items()}


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_strong_sentences_are_claimed_or_were_looked_at(path: Path) -> None:
    found = unclaimed(nbformat.read(path, as_version=4))
    known = looked_at(path.stem)
    assert all(known.values()), "an entry needs a reason"
    new = [part for part in found if not part.startswith(tuple(known))]
    assert not new, "\n".join(["neither claimed nor looked at:", *new])
    stale = [start for start in known if not any(part.startswith(start) for part in found)]
    assert not stale, "\n".join([f"looked_at/{path.stem}.txt lists what is gone:", *stale])


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_notebook_makes_claims_and_shows_their_table(path: Path) -> None:
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert any(CLAIM.search(source) for source in cells)
    tables = [i for i, source in enumerate(cells) if "claim.table()" in source]
    assert len(tables) == 1
    assert not any(CLAIM.search(source) for source in cells[tables[0] + 1 :]), (
        "a claim comes too late"
    )


# ------------------------------------------------------------------- the lists, themselves checked


def page(*cells: str) -> nbformat.NotebookNode:
    """A notebook; what starts with ``claim(`` or ``print(`` is code."""
    v4 = nbformat.v4
    code = ("claim(", "print(")
    make = {True: v4.new_code_cell, False: v4.new_markdown_cell}
    return v4.new_notebook(cells=[make[cell.startswith(code)](cell) for cell in cells])


@pytest.mark.parametrize(
    "sentence",
    [
        "Lengths grow in every seed.",
        "Five of five seeds agree.",
        "The curves coincide.",
        "It has no measurable effect.",
        "Lengths grow because incorrect guesses vanish.",
        "- A list item that never ends",
        "The two losses give the same curve.",
    ],
)
def test_a_strong_sentence_is_listed_unless_it_stands_beside_a_claim(sentence: str) -> None:
    text = f"We trained five models. {sentence} More text.\n\n{sentence}"
    assert len(unclaimed(page(text, "print(1)"))) == 2 - text.startswith("-")
    assert unclaimed(page(text, "claim('x', 1, above=0)")) == []
    assert unclaimed(page("claim('x', 1, above=0)", text)) == []
    assert len(unclaimed(page("claim('x', 1, above=0)", "Text.", text))) == 2


def test_a_plain_sentence_is_not_listed() -> None:
    text = (
        "The reward is 1 for a correct answer. See [05](05_ppo.ipynb). $$\\text{the same}$$ Run it."
    )
    assert unclaimed(page(text)) == []


def test_sentences_are_told_apart() -> None:
    text = "# Title\n\nOne thing. **Another one:** it goes on.\n\n- a point\n- a second point."
    assert sentences(text) == [
        "Title",
        "One thing.",
        "Another one:",
        "it goes on.",
        "a point",
        "a second point.",
    ]
