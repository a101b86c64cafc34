"""The language of keepalived.conf (keepalived.conf(5), lib/parser.c of keepalived 2.2.7): lines of
words, nested by braces, after includes, conditional lines and parameters are resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lvslab.reading.expansion import Include, Line, expanded
from lvslab.reading.unclear import Unclear


@dataclass(frozen=True)
class Block:
    """A statement, with what stands between its braces.

    Attributes:
        words: its line, quotes taken away: ("virtual_server", "10.0.0.1", "80").
        children: empty for a plain statement.
        line, file: where it begins.
    """

    words: tuple[str, ...]
    children: tuple[Block, ...] = ()
    line: int = 0
    file: str = ""

    @property
    def keyword(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.words[1:]

    @property
    def text(self) -> str:
        """Its words in one line."""
        return " ".join(self.words)

    def all(self, *keywords: str) -> tuple[Block, ...]:
        """The children that one of the keywords begins."""
        return tuple(child for child in self.children if child.keyword in keywords)

    def last(self, *keywords: str) -> Block | None:
        """The last of them, which counts where a statement is there twice."""
        matching = self.all(*keywords)
        return matching[-1] if matching else None

    def value(self, *keywords: str, default: str = "") -> str:
        """The first argument of the last of them; `default` where it has none, or is not there."""
        statement = self.last(*keywords)
        return statement.arguments[0] if statement and statement.arguments else default

    def walk(self) -> Iterator[Block]:
        """Itself and everything below it."""
        waiting = [self]
        while waiting:
            block = waiting.pop()
            yield block
            waiting += reversed(block.children)


Note = Callable[[Block, str], None]
"""Takes down a statement that was not understood, and why."""


@dataclass(frozen=True)
class Tree:
    """A file as blocks.

    Attributes:
        config_ids: the ids that conditional lines (`@id`) ask for: the file means another one for
            each of them.
    """

    blocks: tuple[Block, ...] = ()
    config_ids: tuple[str, ...] = ()
    unclear: tuple[Unclear, ...] = ()


def read_blocks(text: str, *, file: str = "", config_id: str = "", include: Include | None = None) -> Tree:
    """A keepalived.conf as a tree.

    Args:
        file: its name, for messages and for `include`.
        config_id: what `keepalived --config-id` would be given; by default it is the first part of
            the host's name, which a file alone does not tell: then lines of every id are left out.
        include: how to get further files; None: they are told as not understood.
    """
    unclear: list[Unclear] = []
    config_ids: dict[str, None] = {}
    lines = expanded(text, file, config_id, include, unclear, config_ids)
    return Tree(_tree(lines, unclear), tuple(config_ids), tuple(unclear))


@dataclass
class _Open:
    """A block whose closing brace has not come yet."""

    words: tuple[str, ...]
    line: Line
    children: list[Block] = field(default_factory=list)

    def add(self, words: Sequence[str], line: Line) -> None:
        """Add a plain statement, if there are words."""
        if words:
            self.children.append(Block(tuple(words), (), line.number, line.file))

    def closed(self) -> Block:
        return Block(self.words, tuple(self.children), self.line.number, self.line.file)


def _tree(lines: Iterator[Line], unclear: list[Unclear]) -> tuple[Block, ...]:
    stack = [_Open((), Line("", 0))]
    for line in lines:
        words: list[str] = []
        for word, is_brace in tokens(line.text):
            if not is_brace:
                words.append(word)
            elif word == "{":
                stack.append(_Open(tuple(words) or _brace_of(stack[-1]), line))
                words = []
            else:
                stack[-1].add(words, line)
                words = []
                if len(stack) == 1:
                    unclear.append(Unclear(line.number, line.text, "closes nothing", line.file))
                else:
                    block = stack.pop().closed()
                    stack[-1].children.append(block)
        stack[-1].add(words, line)
    while len(stack) > 1:
        block, place = stack[-1].closed(), stack.pop().line
        unclear.append(Unclear(place.number, place.text, "its brace is never closed", place.file))
        stack[-1].children.append(block)
    return tuple(stack[0].children)


def _brace_of(around: _Open) -> tuple[str, ...]:
    """The words of the statement before a brace that stands on a line of its own."""
    if around.children and not around.children[-1].children:
        return around.children.pop().words
    return ()


def tokens(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a line and its braces: (word, whether it is a brace). Quotes of either kind keep
    blanks and braces; a backslash keeps the next character inside and outside of them.
    """
    word, started, quoted, at = "", False, "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and at + 1 < len(text):
            word, started, at = word + text[at + 1], True, at + 2
            continue
        if quoted:
            if letter == quoted:
                quoted = ""
            else:
                word += letter
        elif letter in "\"'":
            quoted, started = letter, True
        elif letter.isspace():
            if started:
                yield word, False
            word, started = "", False
        elif letter in "{}" and _is_brace(text, at, word if started else ""):
            if started:
                yield word, False
            word, started = "", False
            yield letter, True
        else:
            word, started = word + letter, True
        at += 1
    if started:
        yield word, False


def _is_brace(text: str, at: int, word: str) -> bool:
    """Whether a brace nests: it stands at a word's beginning, or at its end; within a word it is
    part of it, as in a parameter that nobody defined.
    """
    at_end = at + 1 == len(text) or text[at + 1].isspace()
    return not word or (at_end and "{" not in word and not word.endswith("$"))
