"""Misspelt words: similar words of the lexicon, a zero for the letter O, and runs of katakana with a missing letter."""

import difflib
import re

from gnnpot.builder.library import library
from gnnpot.builder.text.lexicon import lexicon, longest_word

#: similarity (difflib) from which a word is read as another word
_SAME_WORD = 0.8
_SUBSTANCES = {"MAT", "MOL", "POLYMORPH", "STRUCTURE", "SHEETMAT"}
_KATAKANA = re.compile(r"[ァ-ヺー]{5,}")
_FORMULA = re.compile(r"(?<![A-Za-z\d.])(?:[A-Z][a-z]?\d*){1,8}(?![a-z.]|\d*\.)")


def letters_for_digits(plain: str, corrections: list[tuple[str, str]]) -> str:
    """Replace zeros by the letter O if this gives a known formula (`Ti02`, `Al203`). The length does not change."""

    def corrected(match: re.Match[str]) -> str:
        text = match.group(0)
        letters = re.sub(r"(?<=[A-Za-z])0|(?<=\d)0(?=\d$)", "O", text)
        if letters == text and text[-1] == "0" and text[:-1] + "O" in library().molecules:
            letters = text[:-1] + "O"
        if letters == text or not (library().key(letters) or letters in library().molecules):
            return text
        corrections.append((text, letters))
        return letters

    return _FORMULA.sub(corrected, plain)


def misspelt_run(plain: str, position: int) -> tuple[str, str] | None:
    """Return a run of katakana that is not a sequence of words, and the most similar word; otherwise `None`."""
    run = _KATAKANA.match(plain, position)
    if run is None or (position and _KATAKANA.match(plain[position - 1] * 5)):
        return None
    text, place = run.group(0), position
    while place < run.end():
        found = longest_word(plain, place)
        if found is None:
            near = _near(text, _SAME_WORD)
            return None if near is None else (text, near)
        place += found[2]
    return None


def unknown_word(plain: str, position: int) -> tuple[str, str | None]:
    """Return an unknown word at a position, and the known word that it is read as, if any."""
    match = re.compile(r"[A-Za-z][A-Za-z'-]*").match(plain, position)
    if match is not None:
        text = match.group(0)
        return text, _near(text.lower(), _SAME_WORD) if len(text) >= 4 else None
    match = re.compile(r"[゠-ヿー]+|[一-鿿]+").match(plain, position)
    text = match.group(0) if match else plain[position]
    # a run of kanji or kana ends where the next word begins
    for length in range(1, len(text)):
        if longest_word(plain, position + length) is not None:
            text = text[:length]
            break
    return text, _near(text, _SAME_WORD) if len(text) >= 4 else None


def _near(word: str, cutoff: float, content: bool = False) -> str | None:
    """The word of the lexicon that is most similar to a misspelt word; with `content`, only words with a meaning."""
    words = {w: found for w, found in lexicon().items() if not content or found[0] != "STOP"}
    for k in range(len(word) - 1):
        swapped = word[:k] + word[k + 1] + word[k] + word[k + 2 :]
        if swapped in words and swapped != word:
            return swapped
    candidates = [w for w in words if abs(len(w) - len(word)) <= 2 and len(w) >= 4]
    # two letters more in front of a substance, or a letter with a hyphen, change the meaning (ポリエチレン, n-plane)
    longer = [w for w in candidates if word.endswith(w) and len(word) - len(w) == 2]
    other = {w for w in longer if words[w][0] in _SUBSTANCES or word[1] == "-"}
    candidates = [w for w in candidates if w not in other]
    found = difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff)
    return found[0] if found else None


def nearest_word(word: str) -> str | None:
    """Return a suggestion for a word that is not understood."""
    return _near(word.lower(), 0.72, content=True)
