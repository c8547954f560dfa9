"""TCVN3 (ABC), the encoding of Vietnamese text before Unicode, as a codec of the name `tcvn3`.

Its table is that of TCVN 5712:1993, from 0xA1 on. What tells it from other encodings of one byte a letter is that words
read by it are Vietnamese syllables.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

NAME = "tcvn3"

_LETTERS = (
    "ĂÂÊÔƠƯĐăâêôơưđẶ\u0300\u0309\u0303\u0301\u0323àảãáạẲằẳẵắẴẮẦẨẪẤỀặầẩẫấậèỂẻẽéẹềểễếệìỉỄẾỒĩíịò"
    "ỔỏõóọồổỗốộờởỡớợùỖủũúụừửữứựỳỷỹýỵ"
)
_TABLE = "".join(map(chr, range(0xA1))) + _LETTERS + "\ufffd"
_WORD = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f])+")
_SYLLABLE = re.compile(r"(?:ngh|ng|nh|kh|gh|gi|ph|qu|th|tr|ch|[bcdghklmnprstvx])?[aeiouy]{1,3}(?:ch|ng|nh|[cmnpt])?")
_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")
_LIKELY = 0.7


def written_in(text: bytes) -> bool:
    """Whether a text of one byte a letter is in TCVN3 rather than in windows-1258 or windows-1252."""
    share = _vietnamese(_decode(text, "replace")[0])
    return share >= _LIKELY and share > max(_vietnamese(text.decode(c, "replace")) for c in ("cp1258", "cp1252"))


def _vietnamese(text: str) -> float:
    """How many of the words that are not all ASCII could be Vietnamese syllables, from 0 to 1."""
    words = [w for w in _WORD.findall(text) if not w.isascii()]
    return sum(map(_is_syllable, words)) / len(words) if words else 0.0


def _is_syllable(word: str) -> bool:
    parts = unicodedata.normalize("NFD", word.replace("đ", "d").replace("Đ", "D"))
    plain = "".join(c for c in parts if not unicodedata.combining(c))
    # A small letter with an accent is what capitals have, too; a capital among small ones is none of these.
    odd = any(c.isupper() and not c.isascii() for c in word[1:]) and not plain.isupper()
    return not odd and sum(c in _TONES for c in parts) <= 1 and _SYLLABLE.fullmatch(plain.casefold()) is not None


def _decode(data: bytes, errors: str = "strict") -> tuple[str, int]:
    return codecs.charmap_decode(data, errors, _TABLE)


class _Decoder(codecs.IncrementalDecoder):
    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]  # noqa: ARG002
        return _decode(data, self.errors)[0]


def _find(name: str) -> codecs.CodecInfo | None:
    # What has no letters there cannot be written: this encoding is only read.
    if name != NAME:
        return None
    return codecs.CodecInfo(codecs.ascii_encode, _decode, incrementaldecoder=_Decoder, name=NAME)  # type: ignore[arg-type]


codecs.register(_find)
