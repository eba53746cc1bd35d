"""Reads a relative text: which phrases say what is wanted, which what to avoid, and what is to stay as it is.

By English cue words alone ("not", "instead of", "keep the …"), without a grammar or a list of what can be wanted.
A text without cues is one wanted phrase, or several that "and" and commas join.
"""

import re
from collections.abc import Callable, Iterable

from core.ports import RelativeText

SCENE_NOUNS = frozenset(
    ["scene", "scenery", "background", "backdrop", "setting", "surroundings", "location", "place", "environment"]
)
"""What people call that which is behind the product."""

_ASPECTS = (
    "colou?rs?|patterns?|prints?|design|materials?|fabrics?|finish|texture|style|shapes?|fit|cut|sizes?|lengths?"
    "|heights?|widths?|sleeves?|neck|neckline|collar|legs?|straps?|handles?|brim|back|shades?|lampshade|soles?|shaft"
    "|heels?|kind|type|category|model|brand"
)
_NAMES = f"(?:{_ASPECTS}|{'|'.join(sorted(SCENE_NOUNS))})"
_SYNONYMS = {
    "color": "colour", "print": "pattern", "design": "pattern", "fabric": "material",
    "type": "kind", "category": "kind", "neckline": "neck", "lampshade": "shade",
}  # fmt: skip
_THE = "(?:(?:the|this|that|its|these|those|exact|very) )*"
_PLACED = "(?:(?:in front of|against|before|with|on|in|at|having) )?"
_LIKE_THAT = "(?:as (?:it is|they are|is|before)|unchanged|the same|untouched|alone|intact)"
_END = r"(?= but\b| and\b| only\b| just\b| yet\b| while\b|[,;.:!?]|$)"

_KEEP = (
    "(?:keep|keeping|keeps|leave|leaving|retain|retaining|preserve|preserving|maintain|maintaining"
    "|(?:do not|don't|without|not|never) (?:chang|touch|alter|modify)(?:e|ing)?)"
)
_STAYS = f"(?: (?:stays?|remains?|staying|remaining))? {_LIKE_THAT}"

_KEPT = (
    re.compile(rf"\b{_KEEP} {_THE}(?:same )?(.+?)(?: {_LIKE_THAT})?{_END}"),
    re.compile(rf"\b{_PLACED}{_THE}same ((?:\w+ )?{_NAMES}(?: of \w+| \w+)?){_END}"),
    re.compile(rf"\b(?:with )?(?:the|its|this) ((?:\w+ ){{0,2}}?\w+?){_STAYS}{_END}"),
)
"""Each with one group: what is to stay."""

_REPLACED = (
    re.compile(r"\b(?:replac(?:e|ing)|exchange|swap|substitute|switch) (.+?) (?:by|with|for|to) (.+?)(?=[,;.]|$)"),
    re.compile(r"\b(?:(?:change|turn|convert|go|switch) )?from (.+?) (?:in)?to (.+?)(?=[,;.]|$)"),
    re.compile(r"\b(?:change|turn|convert) (.+?) (?:in)?to (.+?)(?=[,;.]|$)"),
)
"""Each with two groups: what goes, and what comes."""

_NOT = re.compile(
    r"\b(?:instead of|rather than|in place of|other than|anything but|no longer|no more|unlike|except|never"
    r"|(?:(?:do|does|is|are|was|should|would|must|can|could)(?:n't| not)|not)(?: (?:be|have|want|like|need))*)\b"
)
"""What follows, up to the end of its clause, is to be avoided."""

_CLAUSES = re.compile(r"[,;.:!?]| but | yet | while ")
_JOINTS = re.compile(r"\b(?:and|plus|as well as)\b|&")
_EMPTY = frozenset(
    [
        "a", "an", "the", "this", "that", "these", "those", "it", "its", "it's", "that's", "there", "here", "one",
        "ones", "thing", "item", "product", "piece", "something", "same", "exactly", "precisely", "just", "only",
        "simply", "quite", "very", "please", "thanks", "i", "i'd", "i'll", "i'm", "we", "you", "me", "my", "your",
        "can", "could", "would", "should", "will", "may", "might", "must", "do", "does", "is", "are", "be", "being",
        "was", "were", "get", "got", "have", "has", "had", "want", "wants", "wanted", "need", "like", "likes", "love",
        "prefer", "look", "looks", "looking", "for", "show", "find", "give", "see", "make", "made", "change",
        "changed", "turn", "switch", "as", "of", "to", "so", "but", "and", "or", "then", "now", "also", "too",
        "similar", "version", "again", "instead", "different", "another", "if", "possible",
    ]
)  # fmt: skip
"""Words that say nothing of a picture where a phrase begins or ends with them."""
_LINKS = frozenset(["in", "on", "at", "by", "with", "for", "from", "of", "to", "as", "into", "over", "under", "near"])


def read(text: str) -> RelativeText:
    """Take a relative text apart. A text of empty words only ("like this one, please") has no phrase at all.

    >>> read("Not red but navy, and keep the background")
    RelativeText(wanted=('navy',), avoided=('red',), kept=('background',))
    """
    rest = re.sub(r"\s+", " ", text.lower().replace("\u2019", "'")).strip()
    kept: list[str] = []
    replaced: list[str] = []
    for pattern in _KEPT:
        rest = pattern.sub(_noting(kept, 1), rest)
    for pattern in _REPLACED:
        rest = pattern.sub(_noting(replaced, 1, leave=2), rest)
    clauses = [_NOT.split(clause) for clause in _CLAUSES.split(rest)]
    return RelativeText(
        wanted=_phrases([wanted for wanted, *_ in clauses]),
        avoided=_phrases([*replaced, *(avoided for _, *others in clauses for avoided in others)]),
        kept=_phrases(kept),
    )


def speaks_of(phrases: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the phrases has a word of one of the names, or a synonym of it."""
    said = {_canonical(word) for phrase in phrases for word in phrase.split()}
    return bool(said) and any(_canonical(word) in said for name in names for word in name.split())


def _canonical(word: str) -> str:
    singular = word.lower().rstrip("s")
    return _SYNONYMS.get(singular, singular)


def _noting(notes: list[str], group: int, *, leave: int | None = None) -> Callable[[re.Match[str]], str]:
    """Notes a group of each match; in the text, the group `leave` or nothing stays, as a clause of its own."""

    def note(match: re.Match[str]) -> str:
        notes.append(match[group])
        return "," if leave is None else f",{match[leave]},"

    return note


def _phrases(parts: list[str]) -> tuple[str, ...]:
    stripped = (_stripped(phrase) for part in parts for phrase in _JOINTS.split(part))
    return tuple(dict.fromkeys(phrase for phrase in stripped if phrase))


def _stripped(phrase: str) -> str:
    """A phrase without the empty words around it; nothing where only they and links are."""
    words = phrase.strip(" \"'()").split()
    if _EMPTY.union(_LINKS).issuperset(words):
        return ""
    while words[0] in _EMPTY:
        words.pop(0)
    while words[-1] in _EMPTY | _LINKS:
        words.pop()
    return " ".join(words)
