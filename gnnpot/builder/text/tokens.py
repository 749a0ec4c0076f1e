"""Splits a text into tokens: numbers with units, Miller indices, sizes, formulas, names of substances, words by kind.

At each position, the longest match of the patterns below, the words of lexicon.yaml and the library is used. Text that
matches nothing becomes a token of kind `UNKNOWN`. A misspelt word is read as the most similar word, and a note says so.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ase.data import chemical_symbols

from gnnpot.builder.text.lexicon import lexicon, longest_word
from gnnpot.builder.text.normal import Normal
from gnnpot.builder.text.oxidation import NAME_WITH_STATE, compound_of_state
from gnnpot.builder.text.spelling import letters_for_digits, misspelt_run, unknown_word

SYMBOLS = frozenset(chemical_symbols[1:])
#: elements of which `X2+` is a molecule with a charge
_NO_CATIONS = frozenset(("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"))
_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "single": 1, "double": 2, "pair of": 2, "quarter": 0.25,
    "一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "ひと": 1, "ふた": 2,
}  # fmt: skip
#: units after a number: (pattern, kind, factor that converts to Å, to a fraction, …)
_UNITS: list[tuple[str, str, float]] = [
    (
        r"(?:Å|A|ang|angst|angstroms?|ångströms?|オングストローム|オングストロ-ム)\s*(?:\^?2|²)(?![A-Za-z\d])",
        "LEN2",
        1.0,
    ),
    (r"(?:nm)\s*(?:\^?2|²)(?![A-Za-z\d])", "LEN2", 100.0),
    (r"平方オングストローム", "LEN2", 1.0),
    (r"(?:Å|(?i:angstroms?|ångströms?|ang)|オングストローム)(?![A-Za-z])", "LEN", 1.0),
    (r"A(?![A-Za-z\d])", "LEN", 1.0),
    (r"(?:(?i:nm|nanomet(?:er|re)s?)|ナノメートル|ナノメーター)(?![A-Za-z])", "LEN", 10.0),
    (r"(?:pm)(?![A-Za-z])", "LEN", 0.01),
    (r"(?:µm|um|micron|マイクロメートル)(?![A-Za-z])", "LEN", 1e4),
    (r"(?:wt\.?\s*%|重量\s*(?:%|パーセント)|質量\s*(?:%|パーセント)|mass\s*%)", "WTPCT", 0.01),
    (r"(?:at\.?\s*%|mol\.?\s*%|原子\s*%|atomic\s*%|at%|%|percent|per cent|パーセント)", "PCT", 0.01),
    (r"(?:ML(?![A-Za-z])|monolayers?(?= of| coverage| *$|[,.])|モノレイヤー|分子層)", "ML", 1.0),
    (r"(?:°|deg(?:rees?)?(?![A-Za-z])|度(?!合))", "ANGLE", 1.0),
    (r"(?:g\s*/\s*cm\^?3|g\s*/\s*cc|g\s*/\s*m[lL]|g\s*cm\^?-3|g\s*/\s*cm³)", "DENS", 1.0),
    (r"-?\s*(?:atoms?(?![A-Za-z])|atomic(?! layer)(?![A-Za-z])|原子(?!層|分子))", "ATOMS", 1.0),
    (r"-?\s*(?:atomic[ -])?(?:layers?|trilayers?|layered|quintuple layers?|MLs? thick|L(?![A-Za-z\d]))", "LAYERS", 1.0),
    (r"(?:原子層|トリレイヤー|層)", "LAYERS", 1.0),
    (r"(?:bilayers?|double[ -]layers?|バイレイヤー|二重層|複層)", "BILAYERS", 1.0),
    (r"(?:molecules?(?![A-Za-z])|分子)", "MOLECULES", 1.0),
    (r"(?:unit\s*cells?|cells?\s*long|cells?(?![A-Za-z])|単位胞|単位格子|単位セル|周期)", "CELLS", 1.0),
    (r"(?:個|つ|コ|本|枚|箇所|か所|ヶ所|ヵ所|組|対)", "COUNT", 1.0),
]


@dataclass(frozen=True)
class Token:
    """A part of the plain text with its kind and value."""

    kind: str
    value: Any
    start: int
    end: int
    text: str = ""


@dataclass
class Tokens:
    """The tokens of a text, the corrections, and the text itself."""

    normal: Normal
    items: list[Token] = field(default_factory=list)
    #: (word, word that it was read as)
    corrections: list[tuple[str, str]] = field(default_factory=list)


def _miller(match: re.Match[str]) -> Token | None:
    """Indices in brackets; `None` if the brackets contain something else."""
    body = match.group(0)[1:-1].strip()
    if re.fullmatch(r"(?:-?\s*\d\s*){3,4}", body):
        indices = [int(x.replace(" ", "")) for x in re.findall(r"-?\s*\d", body)]
    elif re.fullmatch(r"-?\d+(?:[\s,]+-?\d+){2,3}", body):
        indices = [int(x) for x in re.findall(r"-?\d+", body)]
    elif re.fullmatch(r"\d+\s*,\s*\d+", body):
        return Token("CHIRAL", tuple(int(x) for x in body.split(",")), *match.span(), body)
    elif re.fullmatch(r"-?\d+(?:[\s,-]+\d+)*", body):
        return Token("BADMILLER", match.group(0), *match.span(), match.group(0))
    else:
        return None
    return Token("MILLER", tuple(indices), *match.span(), match.group(0))


def _size(match: re.Match[str]) -> Token:
    numbers = tuple(int(x) for x in re.findall(r"\d+", match.group("body")))
    prefix = (match.group("prefix") or "").lower()
    return Token(f"SIZE{len(numbers)}", (prefix, numbers), *match.span(), match.group(0))


def _root_size(match: re.Match[str]) -> Token:
    return Token("ROOT3", None, *match.span(), match.group(0))


def _quantity(match: re.Match[str]) -> Token:
    """A number or a fraction, with its unit if there is one."""
    word = match.group("word")
    if word is not None:
        value = float(_WORDS[word.lower()])
    elif match.group("numerator"):
        value = float(match.group("numerator")) / max(float(match.group("denominator")), 1e-9)
    else:
        value = float(match.group("number"))
    sign = -1.0 if match.group("sign") else 1.0
    text, end = match.string, match.end()
    rest = re.match(r"\s*-?\s*", text[end:])
    for pattern, kind, factor in _UNITS:
        unit = re.compile(pattern, 0 if kind in ("ML", "LEN") else re.IGNORECASE).match(
            text, end + (rest.end() if rest else 0)
        )
        if unit is None:
            unit = re.compile(pattern, 0 if kind in ("ML", "LEN") else re.IGNORECASE).match(text, end)
        if unit:
            return Token(kind, sign * value * factor, match.start(), unit.end(), text[match.start() : unit.end()])
    return Token("NUM", sign * value, match.start(), end, text[match.start() : end])


def _composition(match: re.Match[str]) -> Token | None:
    names = re.findall(r"[A-Z][a-z]?", match.group("names"))
    numbers = [float(x) for x in re.findall(r"\d+(?:\.\d+)?", match.group("numbers"))]
    if len(names) != len(numbers) or not set(names) <= SYMBOLS:
        return None
    return Token("COMPOSITION", dict(zip(names, numbers, strict=True)), *match.span(), match.group(0))


def _with_state(match: re.Match[str]) -> Token:
    """`titanium(III) oxide`; a state of which the library has no compound is not read as another one."""
    formula = compound_of_state(match)
    return Token("UNKNOWN" if formula is None else "MAT", formula or match[0], *match.span(), match[0])


def _core_shell(match: re.Match[str]) -> Token | None:
    core, shell = match.group(1), match.group(2)
    return Token("CORESHELL", (core, shell), *match.span(), match.group(0)) if {core, shell} <= SYMBOLS else None


def _ratio(match: re.Match[str]) -> Token:
    return Token("RATIO", (float(match[1]), float(match[2])), *match.span(), match[0])


def _formula(match: re.Match[str]) -> Token | None:
    text = match.group(0)
    symbols = re.findall(r"[A-Z][a-z]?", text)
    if not symbols or not set(symbols) <= SYMBOLS:
        return None
    surface = re.fullmatch(r"([A-Z][a-z]?)(111|100|110|211|210|0001)", text)
    counted = re.fullmatch(r"[A-Za-z]+\d{1,2}", text) and match.string[match.end() : match.end() + 1] in (
        "個",
        "つ",
        "コ",
    )
    # Pt147原子
    of_atoms = re.fullmatch(r"[A-Z][a-z]?\d{1,4}", text) and match.string.startswith("原子", match.end())
    if counted or (of_atoms and not surface):
        plain = text.rstrip("0123456789")
        return Token("MAT", plain, match.start(), match.start() + len(plain), plain)
    percent = re.fullmatch(r"([A-Z][a-z]?)\d+(?:\.\d+)?", text) and re.match(
        r"\s*(?:at\.?)?%", match.string[match.end() :]
    )
    if re.fullmatch(r"[A-Z][a-z]?[1-4]?", text) and symbols[0] not in _NO_CATIONS:
        # Na+, Ca2+: the charge of an ion
        charge = re.match(r"\+(?![A-Za-z\d])", match.string[match.end() :])
        if charge:
            return Token("MAT", symbols[0], match.start(), match.end() + 1, f"{text}+")
    end = match.start() + len(symbols[0]) if surface or percent else match.end()
    return Token("MAT", text[: end - match.start()], match.start(), end, text[: end - match.start()])


def _plain(kind: str, group: int = 1) -> Callable[[re.Match[str]], Token]:
    return lambda match: Token(kind, match.group(group), *match.span(), match.group(0))


_NUMBER_WORDS = "|".join(sorted((w for w in _WORDS if w.isascii()), key=len, reverse=True))
_KANJI = "一二三四五六七八九十"
_COUNTERS = r"(?=\s*(?:個|つ|層|原子|分子|枚|本|箇所|か所|組|対|単位))"
_PATTERNS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], Token | None]]] = [
    (re.compile(r"\bmp-\d+\b"), _plain("MPID", 0)),
    (
        re.compile(r"(?:[\w./-]+\.(?:cif|vasp|poscar|xyz|extxyz)|\bPOSCAR\b|\bCONTCAR\b)", re.IGNORECASE),
        _plain("FILE", 0),
    ),
    (re.compile(r"\bSMILES\s*[:=]?\s*[\"'「]?([A-Za-z0-9@+\-\[\]()=#/\\%.]+)", re.IGNORECASE), _plain("SMILES")),
    (
        re.compile(r"(?:random\s*)?(?:seed|乱数シード|シード|乱数の種)\s*(?:of|=|:|は)?\s*(\d{1,9})", re.IGNORECASE),
        _plain("SEED"),
    ),
    (re.compile(r"\(\s*√3\s*x\s*√3\s*\)\s*-?\s*R\s*30\s*°?|√3\s*x\s*√3\s*-?(?:R\s*30\s*°?)?"), _root_size),
    (
        re.compile(r"\(?\s*sqrt\(?3\)?\s*x\s*sqrt\(?3\)?\s*\)?\s*-?\s*(?:R\s*30\s*°?)?", re.IGNORECASE),
        _root_size,
    ),
    (
        re.compile(
            r"(?:(?<![A-Za-z])(?P<prefix>[pPcC])\s*)?[\(\[]?\s*(?P<body>\d{1,4}(?:\s*(?:[xX*]|by)\s*\d{1,4}){1,2})"
            r"(?!\d|\.\d)(?!\s*(?:Å|nm|A\b))\s*[\)\]]?"
        ),
        _size,
    ),
    (
        re.compile(rf"(?P<body>(?:{_NUMBER})(?:\s*[xX*]\s*(?:{_NUMBER})){{2}})\s*(?P<unit>Å|A\b|nm|angstroms?)(?:\^?3|³)?"),
        lambda m: Token(
            "BOXSIZE",
            tuple(float(x) * (10.0 if m.group("unit") == "nm" else 1.0) for x in re.findall(_NUMBER, m.group("body"))),
            *m.span(),
            m.group(0),
        ),
    ),
    (re.compile(r"[\(\{][\s\d,-]*\d[\s\d,-]*[\)\}]"), _miller),
    (
        re.compile(r"半々|等量|等モル|half and half|half-and-half|fifty-fifty|equiatomic|equimolar", re.IGNORECASE),
        lambda m: Token("RATIO", (1.0, 1.0), *m.span(), m.group(0)),
    ),
    (re.compile(r"(\d+(?:\.\d+)?)\s*対\s*(\d+(?:\.\d+)?)"), _ratio),
    # planes of hexagonal crystals; C面 is the carbon face of SiC
    (
        re.compile(r"(?<![A-Za-z\d])(?:([acmrAMR])|(C)(?=-plane))-?\s?(?:plane(?![a-z])|面(?!内))"),
        lambda m: Token("PLANE", (m[1] or m[2]).lower(), *m.span(), m[0]),
    ),
    # an atom with its number of neighbours: Ti5c
    (re.compile(r"([A-Z][a-z]?)(?:[1-6]c|_?\{?[1-6]c\}?|\([1-6]c\))(?![a-z])"), _plain("MAT")),
    # the composition of a layer: O-Ce-O layers
    (
        re.compile(r"[A-Z][a-z]?(?:-[A-Z][a-z]?){1,2}(?=\s*(?:を|の|が|は)?\s*(?:\d+\s*)?(?:層|トリ|tri|bi|double|layers?))"),
        lambda m: Token("STOP", None, *m.span(), m.group(0)),
    ),
    (NAME_WITH_STATE, _with_state),
    # an oxidation state: TiO2(IV)
    (re.compile(r"\((?:I{1,3}|IV|VI{0,3})\)"), lambda m: Token("STOP", None, *m.span(), m.group(0))),
    (re.compile(r"\[[\s\d,-]*\d[\s\d,-]*\]"), lambda m: Token("DIRECTION", m.group(0), *m.span(), m.group(0))),
    (
        re.compile(r"(?<![\d.x*])(?:-?\d){3,4}(?=\s*(?:面|表面|surface|slab|facet|スラブ|plane))", re.IGNORECASE),
        lambda m: Token("MILLER", tuple(int(x) for x in re.findall(r"-?\d", m.group(0))), *m.span(), m.group(0)),
    ),
    (
        re.compile(
            r"(?P<names>[A-Z][a-z]?(?:\s*[:/-]\s*[A-Z][a-z]?)+)\s*(?:=|は|が|比|ratio|の比)?\s*(?:=|is|of)?\s*"
            r"(?P<numbers>\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+)"
        ),
        _composition,
    ),
    (re.compile(r"([A-Z][a-z]?)@([A-Z][a-z]?)(?![a-z\d])"), _core_shell),
    (re.compile(r"(\d+(?:\.\d+)?)\s*:\s*(\d+(?:\.\d+)?)"), _ratio),
    (
        re.compile(r"(\d{1,2})\s*/\s*(\d{1,2})(?!\d)(?=\s|$|[^\d\sA-Za-z])"),
        lambda m: _ratio(m) if float(m[1]) + float(m[2]) == 100 else None,
    ),
    (re.compile(r"(?<![A-Za-z])([abc])\s*=\s*(\d+(?:\.\d+)?)\s*(nm|Å|A\b)?"), lambda m: Token(
        "CONSTANT", (m[1], float(m[2]) * (10 if m[3] == "nm" else 1)), *m.span(), m[0])),
    (
        re.compile(
            rf"(?P<sign>(?:(?<![\w)\]])|(?<=歪)|(?<=歪み)|(?<=ひずみ))-)?(?:(?P<numerator>\d{{1,2}})/(?P<denominator>[1-9]\d?)(?![\d.])"
            rf"|(?P<number>{_NUMBER})|(?P<word>(?<![A-Za-z])(?:{_NUMBER_WORDS})(?![A-Za-z])|[{_KANJI}ひふ][とた]?{_COUNTERS}))",
            re.IGNORECASE,
        ),
        _quantity,
    ),
    (re.compile(r"(?:[A-Z][a-z]?(?:\d+(?:\.\d+)?)?|\((?:[A-Z][a-z]?\d*)+\)\d+)+(?![a-z])"), _formula),
]  # fmt: skip


#: kinds of words that take precedence over formulas, because they may look like one: BCC, NP, ICO
_WORDS_BEFORE_FORMULAS = {"NVCENTER", "STRUCTURE", "PARTICLE", "NANOTUBE", "SHAPE", "POLYMORPH", "VAC", "SLAB"}
#: spelt like element symbols, but words at the beginning of a sentence
_WORDLIKE = {"In", "I", "As", "At", "No", "Be", "He", "Am", "On", "A"}


def tokenize(text: str) -> Tokens:
    """Split a text into tokens."""
    tokens = Tokens(Normal(text))
    plain = letters_for_digits(tokens.normal.plain, tokens.corrections)
    position = 0
    while position < len(plain):
        if plain[position] in " \t\r\u3000":
            position += 1
            continue
        token = _misspelt(plain, position, tokens) or _longest(plain, position) or _unknown(plain, position, tokens)
        tokens.items.append(token)
        position = max(token.end, position + 1)
    return tokens


def _longest(plain: str, position: int) -> Token | None:
    """The longest token at a position. Patterns take precedence over words of the same length."""
    best: Token | None = None
    for pattern, make in _PATTERNS:
        match = pattern.match(plain, position)
        token = make(match) if match else None
        if token is not None and (best is None or token.end > best.end):
            best = token
    if best is not None and best.kind == "MAT":
        following = plain[best.end : best.end + 2]
        if (best.text in _WORDLIKE and position == 0 and re.match(r"\s[a-z]", following)) or re.match(
            r"[a-z]", following[:1]
        ):
            best = None
    word = _word(plain, position)
    if word is None or (best is not None and best.end > word.end):
        return best
    if best is None or word.end > best.end or (best.kind == "MAT" and word.kind in _WORDS_BEFORE_FORMULAS):
        return word
    return best


def _word(plain: str, position: int) -> Token | None:
    """The longest word of the lexicon at a position."""
    found = longest_word(plain, position)
    if found is None:
        return None
    kind, value, length = found
    return Token(kind, value, position, position + length, plain[position : position + length])


#: `co` in a sentence with a surface is carbon monoxide, unless the surface or a particle consists of it
_SURFACE = re.compile(r"\(\s*-?\d[\d\s,-]*\)|\b[a-z]{1,2}\d{3}\b|slab|surface|adsor|表面|スラブ|吸着", re.IGNORECASE)
_COBALT = re.compile(r"co\s*(?:\(|\d|nano|cluster|part|atom|ナノ|粒子|原子|クラスタ)", re.IGNORECASE)


def _misspelt(plain: str, position: int, tokens: Tokens) -> Token | None:
    """A run of katakana that is not a sequence of words, but similar to a word."""
    found = misspelt_run(plain, position)
    return None if found is None else _corrected(found[0], found[1], position, tokens)


def _unknown(plain: str, position: int, tokens: Tokens) -> Token:
    """A word that matches nothing: read as a similar word if there is one, otherwise unknown."""
    text, near = unknown_word(plain, position)
    if near is not None:
        return _corrected(text, near, position, tokens)
    if text == "co" and _SURFACE.search(plain) and not _COBALT.match(plain, position):
        tokens.corrections.append((text, "CO"))
        return Token("MOL", "CO", position, position + 2, "CO")
    symbol = text[:1].upper() + text[1:]
    if symbol in SYMBOLS and len(text) == 2 and text not in ("in", "as", "at", "no", "be", "he", "am"):
        tokens.corrections.append((text, symbol))
        return Token("MAT", symbol, position, position + len(text), symbol)
    return Token("UNKNOWN", text, position, position + len(text), text)


def _corrected(text: str, near: str, position: int, tokens: Tokens) -> Token:
    kind, value = lexicon()[near]
    tokens.corrections.append((text, near))
    return Token(kind, value, position, position + len(text), text)
