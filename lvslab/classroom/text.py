"""A lab's page in the classroom's words: there one presses a button where one would type `lvslab
train …` in a terminal of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TYPED_SHELL = re.compile(r"`lvslab train shell (\w+)`")
_TYPED = re.compile(r"`lvslab train (check|hint|solve|reset)`")
_BLOCK_OF_SHELLS = re.compile(r"(?:^ {4}lvslab train [^\n]*\n)+", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def for_page(page: str, say: Callable[[str], str]) -> str:
    """Markdown for the browser, without its first heading, which the page shows elsewhere."""
    buttons = {"check": say("Check"), "hint": say("Hint"), "solve": say("Solution"), "reset": say("Reset")}
    text = re.sub(r"\A# .+\n+", "", page)
    text = _BLOCK_OF_SHELLS.sub(say("(Press its name in the picture of the network.)") + "\n", text)
    text = _TYPED_SHELL.sub(lambda match: say("press **{node}**").format(node=match[1]), text)
    return _TYPED.sub(lambda match: f"**{buttons[match[1]]}**", text)
