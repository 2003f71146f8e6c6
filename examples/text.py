"""The text that the language models of this folder read: the reference manual of Python.

It comes with every Python, as what `help("assert")` and its like print, so nothing is downloaded:
some 400,000 characters of English, with grammar and code among it.
"""

from pydoc_data.topics import topics


def load_text() -> str:
    """The whole text in printable ASCII characters and newlines, no paragraph twice.

    Chapters quote each other at length; without the second copies, the end of the text is new to a
    model that has read the beginning. Other versions of Python bring slightly other words.
    """
    chapters = (topics[name].strip() for name in sorted(topics))
    text = "\n\n".join(chapters).translate(_PLAIN)
    paragraphs = dict.fromkeys(text.split("\n\n"))
    return "\n\n".join(paragraphs).encode("ascii", "ignore").decode()


# Quotation marks, dashes and the ellipsis.
_PLAIN = {
    0x201C: '"',
    0x201D: '"',
    0x2018: "'",
    0x2019: "'",
    0x2013: "-",
    0x2014: "-",
    0x2026: "...",
}
