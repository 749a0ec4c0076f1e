"""Values outside the domains of all numeric options, invalid choices, and mutually exclusive options."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import EMT, words_of

NOT_FINITE = ("nan", "inf", "-inf")
#: invalid values of: a positive number, a number >= 0, any number, an integer >= 1, an integer >= 0, a fraction below 1
POSITIVE = ("nan", "inf", "-1", "0")
NOT_NEGATIVE = ("nan", "inf", "-1")
ANY = ("nan", "-inf", "word")
COUNT = ("nan", "0", "1.5")
WHOLE = ("nan", "-1", "1.5")
INDEX = ("1.5", "9" * 5000)
FRACTION = ("nan", "-1", "1.5")

_RELAX, _MD = f"relax cu.cif -m {EMT} -q -o out.extxyz", f"md cu.cif -m {EMT} -q --trajectory out.traj --log out.log"
_PREDICT, _CHOOSE = "predict cu.cif -m tiny -o out.extxyz -q", "data choose frames.extxyz -o out.extxyz -q"
_CONDUCT = f"conductivity cu.cif -m {EMT} --ion Cu -o out -q"
_LABEL = f"label cu.cif -m {EMT} -o out.store -q"
_SOLVE, _PLOT = "functional solve mg.cif -o out.cube -f wt", "functional plot mg.cif -o out.png -f wt"
_BUILD = "build 'copper 2x2x2' -o out.extxyz"
_TRAIN, _FINETUNE = "train good.yaml -q --set run=out", "finetune tiny frames.extxyz -q -o out"
_DISTIL = "distil tiny frames.extxyz -q -o out"
_MPTRJ = "data mp -o out.store --mptrj good.yaml"

#: (command line without the option, option, values, files)
NUMBERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (_RELAX, "--fmax", NOT_NEGATIVE),
    (_RELAX, "--stress-max", NOT_NEGATIVE),
    (_RELAX, "--pressure", ANY),
    (_RELAX, "--symmetry", POSITIVE),
    (_RELAX, "--steps", WHOLE),
    (_RELAX, "--index", INDEX),
    (f"relax cu.cif -m {EMT} -q -o out --many", "--processes", COUNT),
    ("predict cu.cif -m tiny -q -o out --many", "--processes", COUNT),
    (f"property elastic cu.cif -m {EMT} -q -o out --many", "--processes", COUNT),
    (_MD, "--temperature", NOT_NEGATIVE),
    (_MD, "--temperature-end", NOT_NEGATIVE),
    (_MD, "--pressure", ANY),
    (_MD, "--timestep", POSITIVE),
    (_MD, "--steps", WHOLE),
    (_MD, "--taut", POSITIVE),
    (_MD, "--taup", POSITIVE),
    (_MD, "--friction", POSITIVE),
    (_MD, "--seed", WHOLE),
    (_MD, "--equilibration", WHOLE),
    (_MD, "--interval", COUNT),
    (_MD, "--index", INDEX),
    (_PREDICT, "--max-atoms", COUNT),
    (_CHOOSE, "--count", COUNT),
    (_CONDUCT, "--charge", ANY),
    (_CONDUCT, "--frame-time", POSITIVE),
    (_CONDUCT, "--production", POSITIVE),
    (_CONDUCT, "--equilibration", NOT_NEGATIVE),
    (_CONDUCT, "--timestep", POSITIVE),
    (_CONDUCT, "--interval", POSITIVE),
    (_CONDUCT, "--jump-length", POSITIVE),
    (_CONDUCT, "--fit-from", NOT_NEGATIVE),
    (_CONDUCT, "--framework-limit", POSITIVE),
    (_CONDUCT, "--discard", NOT_NEGATIVE),
    (_CONDUCT, "--seed", WHOLE),
    (_CONDUCT, "--processes", COUNT),
    (_CONDUCT, "--index", INDEX),
    (_CONDUCT, "--temperatures", (*POSITIVE, "300,nan", "300 -5", "300,300")),
    (_CONDUCT, "--supercell", ("2x2", "0x1x1", "axbxc", "1.5x1x1", "-1x1x1", "nanx1x1")),
    (_LABEL, "--seed", WHOLE),
    (_LABEL, "--processes", COUNT),
    (_SOLVE, "--cutoff", POSITIVE),
    (_SOLVE, "--index", INDEX),
    (_PLOT, "--axis", ("0", "4", "nan", "1.5")),
    ("functional data out", "--triples", WHOLE),
    ("functional data out", "--processes", COUNT),
    ("functional train mine -o out", "--seed", WHOLE),
    (_BUILD, "--fmax", NOT_NEGATIVE),
    (_BUILD, "--steps", WHOLE),
    ("mcp", "--atoms", COUNT),
    ("mcp", "--seconds", (*NOT_FINITE, "-1", "0")),
    ("warm tiny -q", "--processes", COUNT),
    (_DISTIL, "--minutes", POSITIVE),
    (_DISTIL, "--temperature", NOT_FINITE),
    (_DISTIL, "--processes", COUNT),
    (f"{_FINETUNE} --compare", "--frames", COUNT),
    ("data convert frames.extxyz -o out.store", "--shard-size", COUNT),
    (_MPTRJ, "--shard-size", COUNT),
    (_MPTRJ, "--limit", COUNT),
    ("data mp -o out.store --table nowhere", "--table-version", ("nan", "-1", "1.5", "word")),
    ("data split cu.store -o out.json", "--seed", WHOLE),
    ("data split cu.store -o out.json --by source --part train=emt", "--validation", FRACTION),
    ("data split cu.store -o out.json", "--fractions", ("train=nan", "train=inf,test=1", "train=-1,test=2", "a", "=1",
                                                       "train=0.5", "train=0.5,train=0.5", "", "train=1e999")),
)  # fmt: skip

#: options of a YAML file, also tried with `--set`: dotted name and values
SET_TRAIN = {
    "seed": ("-1", "1.5", "nan", "word"),
    "epochs": ("-1", "0", "1.5", ".inf", "nan"),
    "max_steps": ("-1", "0", "1.5"),
    "max_minutes": ("-1", "0", ".nan", "nan", ".inf"),
    "ema": ("-1", "1.5", ".nan", "nan"),
    "optimizer.lr": ("-1", "0", ".nan", "nan", "inf", ".inf"),
    "optimizer.weight_decay": ("-1", ".nan", ".inf"),
    "loss.energy": ("-1", ".nan", ".inf"),
    "loss.delta": ("-1", "0", ".nan", ".inf"),
    "batch.max_atoms": ("-1", "0", "1.5", ".nan"),
    "schedule.warmup_steps": ("-1", "1.5"),
    "schedule.lr_min": ("-1", ".nan", ".inf"),
    "data.frames": ("-1", "0", "1.5"),
    "data.workers": ("-1", "1.5"),
    "data.split.validation": ("-1", "1.5", ".nan"),
    "data.split.seed": ("-1", "1.5"),
    "data.derivatives_gib": ("-1", ".nan", ".inf"),
    "model.hidden": ("[-1]", "[0]", "[]", "[1.5]"),
    "model.symmetry_set.radial_cutoff": ("-1", "0", ".nan", ".inf", "1e300"),
    "model.symmetry_set.count": ("-1", "0", "1.5"),
    "lightning.devices": ("-1", "0", "1.5"),
    "precision": ("float16", "half", "64"),
}
SET_FINETUNE = {
    "epochs": ("-1", ".nan"), "max_minutes": (".nan", "-1"), "optimizer.lr": (".nan", "-1"), "seed": ("-1", "1.5"),
    "replay.share": ("-1", ".nan", "2"), "refit.ridge": ("-1", ".nan"),
}  # fmt: skip
SET_DISTIL = {
    "rounds": ("-1", "0", "1.5"), "max_minutes": (".nan", "-1"), "explore.steps": ("-1", "0", "1.5"),
    "explore.timestep": (".nan", "-1", "0"), "seed": ("-1", "1.5"), "start.structures": ("-1", "0", "1.5"),
}  # fmt: skip

#: (name, command line, words): invalid choices, and mutually exclusive options
CHOICES = (
    ("ensemble", f"{_MD} --ensemble NVE", "nve"),
    ("ensemble in another language", f"{_MD} --ensemble npt", "npt-isotropic"),
    ("optimizer", f"{_RELAX} --optimizer newton", "fire"),
    ("cell", f"{_RELAX} --cell everything", "auto"),
    ("dtype", f"{_RELAX} --dtype float16", "float32"),
    ("device", "relax cu.cif -m tiny --device quantum", "--device"),
    ("missing GPU", "relax cu.cif -m tiny --device cuda -q", "--device cuda"),
    ("missing GPU, md", "md cu.cif -m tiny --device cuda:7 -q", "--device cuda:7"),
    ("missing GPU, predict", "predict cu.cif -m tiny -o out.extxyz --device cuda -q", "--device cuda"),
    ("missing GPU, check", "check tiny --device cuda", "--device cuda"),
    ("missing GPU, label", "label cu.cif -m tiny -o out.store --device cuda -q", "--device cuda"),
    ("missing GPU, evaluate", "evaluate tiny frames.extxyz --device cuda", "--device cuda"),
    ("missing GPU, distil", f"{_DISTIL} --device cuda", "--device cuda"),
    ("missing GPU, conductivity", "conductivity cu.cif -m tiny --ion Cu -o out --device cuda -q", "--device cuda"),
    ("missing GPU, train", f"{_TRAIN} --set lightning.accelerator=gpu", "gpu|accelerator|cuda"),
    ("missing GPU, a preset", "train --preset pretrain-m3gnet --set run=out -q", "gpu|cuda|data"),
    ("negative GPU", "relax cu.cif -m tiny --device cuda:-1 -q", "--device"),
    ("device of nothing", "relax cu.cif -m tiny --device '' -q", "--device"),
    ("ramp in nve", f"{_MD} --ensemble nve --temperature-end 600", "--temperature-end"),
    ("temperature 0 in bussi", f"{_MD} --temperature 0", "temperature"),
    ("keep velocities of none", f"{_MD} --keep-velocities", "velocities"),
    ("resume without a trajectory", f"{_RELAX} --resume", "--resume|trajectory"),
    ("resume from none", f"{_RELAX} --resume --trajectory none.traj", "none.traj"),
    ("both source and parts", "data split cu.store -o out.json --part train=emt", "--by source"),
    ("source without parts", "data split cu.store -o out.json --by source", "--part"),
    ("no such source", "data split cu.store -o out.json --by source --part train=other", "other"),
    ("two sources of mp", "data mp -o out.store --mptrj a --matpes b", "name one"),
    ("ids of a file", "data mp -o out.store --mptrj a --with-ids", "--with-ids"),
    ("ids without a key", "data mp -o out.store --table nowhere --with-ids", "MP_API_KEY"),
    ("mp energy", f"{_MPTRJ} --energy total", "free"),
    ("mp corrections", f"{_MPTRJ} --corrections all", "mp2020"),
    ("mp elements", f"{_MPTRJ} --elements Qq", "Qq"),
    ("mp run types", f"{_MPTRJ} --run-types LDA1", "run-types"),
    ("mp of a YAML file", _MPTRJ, "good.yaml"),
    ("mp of no file", "data mp -o out.store --mptrj nowhere.json", "nowhere.json"),
    ("mp of no MatPES", "data mp -o out.store --matpes nowhere.json", "nowhere.json"),
    ("mp of an empty table", "data mp -o out.store --table mine", "mine"),
    ("report of no store", "data report mine -o out", "mine"),
    ("report of another store", "data report cu.store -o out", "mp"),
    ("strategy", f"{_FINETUNE} --strategy everything", "replay"),
    ("only without compare", f"{_FINETUNE} --only head", "--compare"),
    ("frames without compare", f"{_FINETUNE} --frames 5", "--compare"),
    ("only of nothing", f"{_FINETUNE} --compare --only nothing", "nothing"),
    ("student", f"{_DISTIL} --student gpt", "hdnnp"),
    ("two trajectories, one temperature", "conductivity --trajectory cu.traj --trajectory cu.traj -T 300 --ion Cu",
     "--temperatures"),
    ("structure and trajectory", "conductivity cu.cif --trajectory cu.traj --ion Cu", "either"),
    ("neither", "conductivity --ion Cu", "either"),
    ("volume", f"{_CONDUCT} --volume some", "given"),
    ("pressure of a given volume", f"{_CONDUCT} --pressure 2", "--pressure"),
    ("a trajectory that does not say its times", "conductivity --trajectory cu.traj -T 300 --ion Cu", "too few|--frame-time"),
    ("too few frames", "conductivity --trajectory cu.traj -T 300 --ion Cu --frame-time 1", "frame|short"),
    ("no such trajectory", "conductivity --trajectory none.traj -T 300 --ion Cu", "none.traj"),
    ("distortion", f"{_LABEL} --distort exploded", "exploded"),
    ("distortion option", f"{_LABEL} --distort 'rattled by=0.1'", "by"),
    ("distortion value", f"{_LABEL} --distort 'rattled rattle=nan'", "rattle"),
    ("distortion value below 0", f"{_LABEL} --distort 'rattled rattle=-1'", "rattle"),
    ("distortion without a value", f"{_LABEL} --distort 'rattled rattle'", "name=value"),
    ("distortion twice", f"{_LABEL} --distort original --distort original", "twice"),
    ("empty distortion", f"{_LABEL} --distort ''", "distort"),
    ("melted without a temperature", f"{_LABEL} --distort 'melted temperature=inf'", "temperature"),
    ("scaled to nothing", f"{_LABEL} --distort 'scaled volume=[0,1]'", "volume"),
    ("distortion count", f"{_LABEL} --distort 'rattled count=1.5'", "count"),
    ("choose more than there are", f"{_CHOOSE} -n 20", "12"),
    ("format", "data convert frames.extxyz -o out.store --format cube", "cube"),
    ("stress convention", "data convert frames.extxyz -o out.store --stress bar", "bar"),
    ("stress in parts", "data convert frames.extxyz -o out.store --stress kbar:sideways:xx", "sideways|kbar"),
    ("reader option", "data convert frames.extxyz -o out.store --option color=red", "color"),
    ("reader option without a value", "data convert frames.extxyz -o out.store --option color", "name=value"),
    ("energy key that is none", "data convert frames.extxyz -o out.store --energy-key E_dft", "E_dft"),
    ("forces key that is none", "data convert frames.extxyz -o out.store --forces-key F", "F"),
    ("bad frames", "data convert frames.extxyz -o out.store --bad-frames ignore", "skip"),
    ("import of no name", "import nowhere", "nowhere"),
    ("import with a name for none", "import 7net-0 --name mine", "--name"),
    ("import trained with", "import 7net-0 --trained-with 1", "--trained-with"),
    ("import of a folder", "import mine", "mine"),
    ("card of no model", "card nowhere", "nowhere"),
    ("card of a folder", "card mine", "mine"),
    ("config of no name", "config nothing", "nothing"),
    ("preset of no name", "train --preset nothing", "nothing"),
    ("train without a file", "train", "YAML"),
    ("train with both", "train good.yaml --preset m3gnet", "either"),
    ("train nowhere", "train nowhere.yaml", "nowhere.yaml"),
    ("set without a value", f"{_TRAIN} --set epochs", "key.key=value|epochs"),
    ("set of no option", f"{_TRAIN} --set epoch=3", "epochs"),
    ("set of a part of no option", f"{_TRAIN} --set epochs.more=3", "epochs"),
    ("set of nothing", f"{_TRAIN} --set =3", "key|option"),
    ("set of broken YAML", f"{_TRAIN} --set 'epochs=[1'", "YAML"),
    ("no such command", "relaxx cu.cif", "no such command"),
    ("no such option", f"{_RELAX} --fmx 1", "no such option"),
    ("option without a value", "relax cu.cif --fmax", "--fmax"),
    ("option twice over", f"{_RELAX} --json=yes", "--json"),
    ("no argument", "relax", "structure"),
    ("two structures", "relax cu.cif frames.extxyz", "unexpected|frames.extxyz"),
    ("build of nothing", "build", "what to build"),
    ("build of nonsense", "build 'please make me happy' -o out.extxyz", "please|understood|happy"),
    ("build of an empty sentence", "build '' -o out.extxyz", "build|sentence|nothing"),
    ("build too much", "build 'copper 3000x3000x3000' -o out.extxyz", "atoms|too large"),
    ("build no times", "build 'copper 0x0x0' -o out.extxyz", "0"),
    ("build of a broken recipe", "build --recipe good.yaml -o out.extxyz", "good.yaml|recipe"),
    ("build of no recipe", "build --recipe nowhere.json -o out.extxyz", "nowhere.json"),
    ("build in another format", "build 'copper 2x2x2' -o out.nonsense", "ending"),
    ("build and relax with nothing", "build 'copper 2x2x2' --relax nowhere -o out.extxyz", "nowhere"),
    ("build without an llm", "build 'copper' --llm -o out.extxyz", "GNNPOT_LLM"),
    ("language", "build 'copper' --language fr", "ja"),
    ("warm of no name", "warm nowhere", "nowhere"),
    ("evaluate without labels", "evaluate tiny no_labels.extxyz", "label"),
    ("evaluate nothing", "evaluate tiny", "data"),
    ("evaluate elsewhere", "evaluate tiny nowhere.extxyz", "nowhere.extxyz"),
    ("evaluate of other elements", "evaluate tiny ni.extxyz", "Ni"),
    ("finetune of other elements", "finetune tiny nowhere.extxyz -q -o out", "nowhere.extxyz"),
    ("info of nothing", "data info nowhere", "nowhere"),
    ("info of a folder", "data info mine", "mine"),
    ("split of no store", "data split mine -o out.json", "mine"),
    ("split into too many", "data split cu.store -o out.json --fractions a=0.999,b=0.0005,c=0.0005", "empty"),
)  # fmt: skip

_FILES = ("cu.cif", "mg.cif", "frames.extxyz", "ni.extxyz", "no_labels.extxyz", "cu.traj", "cu.store", "tiny",
          "good.yaml", "mine")  # fmt: skip


def _shown(value: str) -> str:
    return value if len(value) < 40 else f"{value[:3]}…"


def tries() -> list[Try]:
    """All tries with options."""
    found = []
    for line, option, values in NUMBERS:
        for value in values:
            arguments = (*words_of(line), f"{option}={value}")
            name = f"{' '.join(arguments[:2])}: {option} {_shown(value) or 'nothing'}"
            found.append(Try("options", name, arguments, words=(option,), files=_FILES))
    for line, table in ((_TRAIN, SET_TRAIN), (_FINETUNE, SET_FINETUNE), (_DISTIL, SET_DISTIL)):
        for option, values in table.items():
            for value in values:
                arguments = (*words_of(line), "--set", f"{option}={value}")
                name, last = f"{arguments[0]}: {option}={value}", option.rpartition(".")[2]
                found.append(Try("options by --set", name, arguments, words=(last,), files=_FILES))
    for name, line, words in CHOICES:
        found.append(Try("choices", name, words_of(line), words=(words,), files=_FILES))
    return found
