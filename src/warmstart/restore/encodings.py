"""Text as editors save it: a mark at the beginning says how it is encoded."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

from ..errors import RuleError

#: How text begins that is not UTF-8; of those that begin alike the longer one comes first.
MARKS = {
    BOM_UTF32_LE: "UTF-32", BOM_UTF32_BE: "UTF-32", BOM_UTF16_LE: "UTF-16", BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def utf8(data: bytes, what: str) -> bytes:
    """Return the text *data* without the mark that it is UTF-8.

    Raise RuleError, with *what* it is, for one that says it is encoded otherwise.

    >>> utf8("\ufeffthe".encode(), "the file")
    b'the'
    """
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            raise RuleError(f"{what} is {encoding} and must be UTF-8: save it as such")
    return data.removeprefix(BOM_UTF8)
