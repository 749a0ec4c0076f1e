"""What is shown: names of files do nothing to the terminal, and messages speak of the options that users write."""

import errno
import io
import sys

import pytest
from rich._emoji_codes import EMOJI
from rich.table import Table

from gnnpot import cli
from gnnpot.cli.console import Console, printable, styled
from gnnpot.cli.sentences import in_command_line_words, sentence_of
from tests.test_docs import commands


def shown(*parts, **options):
    out = io.StringIO()
    Console(file=out, width=100, highlight=False, **options).print(*parts)
    return out.getvalue()


def test_markup_and_control_characters_are_text():
    name = "[/x][bold]a\x1b[31m\x07:smile:\x9b"
    table = Table("head", title=name)
    table.add_row(name)
    for output in (shown(name), shown(table), shown(styled(name, (name, "green"))), shown(name, force_terminal=True)):
        assert "[/x][bold]a" in output and ":smile:" in output and r"\x1b[31m" in output
        assert "\x1b[31m" not in output and "\x07" not in output and "\x9b" not in output
    assert printable("Å 銅\n") == "Å 銅\n" and printable("b\u202e") == r"b\u202e"


def test_help_has_no_pictures():
    for name, command in commands():
        texts = [command.help or "", *(getattr(p, "help", None) or "" for p in command.params)]
        words = {word for text in texts for word in text.replace("\n", " ").split(":")[1:-1]}
        assert not words & set(EMOJI), name


@pytest.mark.parametrize(
    ("message", "line", "expected"),
    [
        ("md: temperature_end: 'nve' has none", "md cu.cif", "md: --temperature-end: 'nve' has none"),
        ("x: exists already; give another name, or overwrite=True (--overwrite)", "md x", None),
        ("raise max_temperature or stress_max", "md x", "raise --max-temperature or stress_max"),
        ("seed: -1 is wrong", "label x", "--seed: -1 is wrong"),
        ("run.yaml: data.bad_frames: no", "data convert x", "run.yaml: data.bad_frames: no"),
        ("or begin anew with --fresh", "relax x --many", "or begin anew with --overwrite"),
        ("or begin anew with --fresh", "property elastic x --many", "or begin anew with --fresh"),
        ("my_index_file: stress_max is", "relax -q x", "my_index_file: --stress-max is"),
    ],
)
def test_options_are_named_as_users_write_them(message, line, expected):
    expected = expected or "x: exists already; give another name, or --overwrite"
    assert in_command_line_words(message, cli.app, line.split()) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "denied", "a.xyz"), "a.xyz: can't be used (denied); choose a path that you"),
        (OSError(errno.ENOSPC, "full"), "a file can't be read or written (full); free some space and run the same"),
    ],
)
def test_errors_of_the_file_system_are_sentences(error, expected):
    assert sentence_of(error).startswith(expected)


def test_a_name_that_is_too_long_gives_a_sentence_and_a_bug_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gnnpot", "card", "a" * 300])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 1 and said.startswith("error: aaa") and said.endswith("; give a shorter name")
    assert sentence_of(FileNotFoundError(errno.ENOENT, "missing", "a.xyz")) is None


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "euc-jp", "gbk"])
def test_characters_that_an_encoding_lacks_are_replaced(monkeypatch, encoding):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["gnnpot", "relax", "銅Å🗜é.cif"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    streams["stderr"].flush()
    said = streams["stderr"].buffer.getvalue().decode(encoding)
    assert end.value.code == 1 and "there is no such file" in said
