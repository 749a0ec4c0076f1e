"""The recipe: a list of typed steps that build a structure. It can be read from and written to JSON.

    recipe = Recipe(steps=[Bulk(formula="Pt"), Slab(miller=(1, 1, 1), layers=4, repeat=(3, 3))])
    Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    Recipe.model_json_schema()                             # the schema that a language model must follow

A recipe begins with a step that creates a structure (`SOURCES`). The following steps change this structure, in order.
Lengths are in Å, angles in degrees, fractions between 0 and 1. If a value is `None`, the executor chooses it; the notes
of the result say what it chose.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gnnpot.builder.messages import problem

VERSION: Literal[1] = 1
#: largest number of atoms of a structure
MAX_ATOMS = 20_000

Count = Annotated[int, Field(ge=1, le=MAX_ATOMS)]
Length = Annotated[float, Field(gt=0, le=500, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Index = Annotated[int, Field(ge=-20, le=20)]
Repeat = Annotated[int, Field(ge=1, le=1000)]
Where = Literal["anywhere", "top", "bottom", "surface", "adsorbate", "vacancy", "dopant", "bulk"]


class Step(BaseModel):
    """Base class of all steps. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lattice(Step):
    """Lattice constants that replace those of the library; others are scaled by the factor of the first one given."""

    a: Length | None = None
    b: Length | None = None
    c: Length | None = None


class Bulk(Step):
    """A crystal, given by formula (with polymorph or prototype), file, or identifier of the Materials Project."""

    do: Literal["bulk"] = "bulk"
    formula: Name | None = Field(
        default=None, description="such as TiO2, or a composition such as Cu0.75Au0.25 (random alloy)"
    )
    polymorph: Name | None = Field(default=None, description="such as rutile, anatase, monoclinic, wurtzite, fcc")
    lattice: Lattice | None = None
    file: Name | None = Field(default=None, description="a file that ASE reads")
    mp_id: Annotated[str, Field(pattern=r"^mp-\d+$")] | None = None
    cell: Literal["conventional", "primitive"] | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _one_origin(self) -> "Bulk":
        if sum(x is not None for x in (self.formula, self.file, self.mp_id)) != 1:
            raise problem("one_origin")
        return self


class Molecule(Step):
    """A molecule, given by name, formula or SMILES, in vacuum or in a periodic box."""

    do: Literal["molecule"] = "molecule"
    name: Name
    vacuum: Length | None = Field(default=None, description="vacuum on each side; defines the cell")
    box: Length | None = Field(default=None, description="edge of a cubic cell")


class Sheet(Step):
    """A two-dimensional sheet: graphene, h-BN, MoS2 and similar compounds, phosphorene, silicene."""

    do: Literal["sheet"] = "sheet"
    formula: Name
    repeat: tuple[Repeat, Repeat] = (1, 1)
    layers: Annotated[int, Field(ge=1, le=20)] = 1
    stacking: Literal["AA", "AA'", "AB"] | None = None
    phase: Literal["2H", "1T"] | None = None
    vacuum: Length | None = None
    lattice: Lattice | None = None
    orthogonal: bool = False


class Nanotube(Step):
    """An (n, m) nanotube of carbon or of two elements (such as BN) along the third cell vector."""

    do: Literal["nanotube"] = "nanotube"
    n: Annotated[int, Field(ge=1, le=60)]
    m: Annotated[int, Field(ge=0, le=60)]
    cells: Annotated[int, Field(ge=1, le=100)] = 1
    length: Length | None = None
    formula: Name = "C"
    vacuum: Length | None = None


class Nanoparticle(Step):
    """A particle of a metal or an alloy with a given shape and size."""

    do: Literal["nanoparticle"] = "nanoparticle"
    composition: dict[Symbol, Annotated[float, Field(gt=0, le=1000)]] = Field(min_length=1, max_length=8)
    shape: (
        Literal[
            "wulff", "icosahedron", "cuboctahedron", "octahedron", "truncated octahedron", "decahedron", "sphere",
            "cube", "tetrahedron",
        ]
        | None
    ) = None  # fmt: skip
    atoms: Count | None = None
    diameter: Length | None = None
    arrangement: Literal["random", "core-shell"] = "random"
    core: Symbol | None = None
    shell: Symbol | None = None
    shell_layers: Annotated[int, Field(ge=1, le=10)] = 1
    lattice: Literal["fcc", "bcc", "hcp"] | None = None
    surface_energies: dict[Annotated[str, Field(pattern=r"^\d{3,4}$")], Length] | None = Field(
        default=None, description="by Miller indices, such as {'111': 1.0, '100': 1.1}"
    )
    vacuum: Length | None = Field(default=None, description="vacuum on each side")
    box: Length | None = Field(default=None, description="edge of a cubic cell")
    seed: int = 0

    @model_validator(mode="after")
    def _core_and_shell(self) -> "Nanoparticle":
        incomplete = self.core is None or self.shell is None or self.core == self.shell
        if self.arrangement == "core-shell" and incomplete:
            raise problem("core_and_shell")
        if self.atoms is not None and self.diameter is not None:
            raise problem("atoms_and_diameter")
        return self


class Amount(Step):
    """A number of molecules of one kind."""

    name: Name
    number: Annotated[int, Field(ge=1, le=5000)] | None = None


class Solvent(Step):
    """Molecules packed without overlaps: in a periodic box, or as a layer on the current structure."""

    do: Literal["solvent"] = "solvent"
    molecules: list[Amount] = Field(min_length=1, max_length=8)
    density: Annotated[float, Field(gt=0, le=5)] | None = Field(default=None, description="g/cm³")
    thickness: Length | None = Field(default=None, description="of a layer on a surface")
    box: tuple[Length, Length, Length] | None = None
    seed: int = 0


class Supercell(Step):
    """The structure repeated along its cell vectors, or a supercell whose vectors are the rows of an integer matrix."""

    do: Literal["supercell"] = "supercell"
    repeat: tuple[Repeat, Repeat, Repeat] | None = None
    matrix: tuple[tuple[Index, Index, Index], tuple[Index, Index, Index], tuple[Index, Index, Index]] | None = None
    min_length: Length | None = None

    @model_validator(mode="after")
    def _one(self) -> "Supercell":
        if sum(x is not None for x in (self.repeat, self.matrix, self.min_length)) != 1:
            raise problem("one_supercell")
        return self


class Slab(Step):
    """A surface of the current crystal, with its normal along the third cell vector."""

    do: Literal["slab"] = "slab"
    miller: Annotated[tuple[Index, ...], Field(min_length=3, max_length=4)]
    layers: Annotated[int, Field(ge=1, le=100)] | None = None
    thickness: Length | None = None
    vacuum: Length | None = None
    termination: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="elements on top, such as O or TiO2"
    )
    repeat: tuple[Repeat, Repeat] | None = None
    matrix: tuple[tuple[Index, Index], tuple[Index, Index]] | None = Field(default=None, description="such as c(2x2)")
    orthogonal: bool = False

    @model_validator(mode="after")
    def _plane(self) -> "Slab":
        if not any(self.miller):
            raise problem("no_plane", miller=" ".join(map(str, self.miller)))
        if len(self.miller) == 4 and self.miller[0] + self.miller[1] + self.miller[2] != 0:
            raise problem("four_indices", miller=" ".join(map(str, self.miller)))
        if self.layers is not None and self.thickness is not None:
            raise problem("layers_and_thickness")
        return self


class Vacuum(Step):
    """A new width of the vacuum of a slab."""

    do: Literal["vacuum"] = "vacuum"
    width: Length


class Fix(Step):
    """Atoms that are kept fixed in relaxations and molecular dynamics."""

    do: Literal["fix"] = "fix"
    layers: Annotated[int, Field(ge=1, le=100)] | None = None
    fraction: Fraction | None = None
    where: Literal["bottom", "top", "middle", "support", "all"] = "bottom"


class Adsorb(Step):
    """Atoms or molecules on a surface."""

    do: Literal["adsorb"] = "adsorb"
    species: Name
    number: Annotated[int, Field(ge=1, le=2000)] | None = None
    coverage: Annotated[float, Field(gt=0, le=4)] | None = Field(
        default=None, description="in monolayers: adsorbates per surface atom"
    )
    site: Literal["top", "bridge", "hollow", "fcc", "hcp"] | None = None
    on: Symbol | None = Field(default=None, description="the element that it binds to")
    near: Literal["vacancy", "dopant"] | None = None
    height: Length | None = Field(default=None, description="of the binding atom above the highest layer")
    orientation: Literal["upright", "flat"] | None = None
    binding: Symbol | None = Field(default=None, description="the atom of the molecule that points to the surface")
    side: Literal["top", "bottom", "both"] = "top"


class Place(Step):
    """A nanoparticle on the current slab."""

    do: Literal["place"] = "place"
    particle: Nanoparticle
    distance: Length | None = None
    facet: Annotated[tuple[Index, ...], Field(min_length=3, max_length=3)] | None = None
    at: Literal["center", "hollow", "top"] | None = None
    keep_cell: bool = Field(
        default=False, description="do not enlarge the support until periodic images of the particle are apart"
    )


class Film(Step):
    """One side of an interface."""

    formula: Name
    polymorph: Name | None = None
    miller: Annotated[tuple[Index, ...], Field(min_length=3, max_length=4)] | None = None
    layers: Annotated[int, Field(ge=1, le=50)] | None = None
    thickness: Length | None = None
    sheet: bool = Field(default=False, description="a two-dimensional sheet such as graphene (formula C)")


class Interface(Step):
    """A film on a substrate in a common cell. The film is strained to fit the substrate."""

    do: Literal["interface"] = "interface"
    film: Film
    substrate: Film
    max_strain: Annotated[float, Field(gt=0, le=0.3)] | None = None
    max_area: Annotated[float, Field(gt=0, le=5000)] | None = None
    gap: Length | None = None
    vacuum: Annotated[float, Field(ge=0, le=200)] | None = None


class Substitute(Step):
    """Atoms of one element that are replaced by another element."""

    do: Literal["substitute"] = "substitute"
    element: Symbol | None = Field(
        default=None, description="the element that is replaced; None: the only other element of the same kind as `by`"
    )
    by: Symbol
    number: Count | None = None
    fraction: Fraction | None = None
    where: Where = "anywhere"
    seed: int = 0

    @model_validator(mode="after")
    def _amount(self) -> "Substitute":
        if self.number is not None and self.fraction is not None:
            raise problem("number_and_fraction")
        if self.element == self.by:
            raise problem("same_element", element=self.by)
        return self


class Vacancy(Step):
    """Atoms that are removed."""

    do: Literal["vacancy"] = "vacancy"
    element: Symbol | None = None
    number: Count | None = None
    fraction: Fraction | None = None
    where: Where = "anywhere"
    seed: int = 0


class Interstitial(Step):
    """Atoms that are inserted into holes of a crystal, by default the largest ones."""

    do: Literal["interstitial"] = "interstitial"
    element: Symbol
    number: Annotated[int, Field(ge=1, le=1000)] = 1
    site: Literal["octahedral", "tetrahedral", "largest"] | None = None
    seed: int = 0


class RandomAlloy(Step):
    """A random distribution of elements with a given composition on all sites, or on the sites of `sublattice`."""

    do: Literal["alloy"] = "alloy"
    composition: dict[Symbol, Annotated[float, Field(gt=0, le=1000)]] = Field(min_length=1, max_length=10)
    sublattice: Symbol | None = None
    seed: int = 0


class Strain(Step):
    """Strain along the cell vectors a, b, c (0.02: 2 % longer), and shear of b along a."""

    do: Literal["strain"] = "strain"
    a: Annotated[float, Field(gt=-0.5, le=1)] = 0.0
    b: Annotated[float, Field(gt=-0.5, le=1)] = 0.0
    c: Annotated[float, Field(gt=-0.5, le=1)] = 0.0
    shear: Annotated[float, Field(ge=-1, le=1)] = 0.0


class Rotate(Step):
    """A rotation of the adsorbates, the particle or a structure without a cell about an axis through their centre."""

    do: Literal["rotate"] = "rotate"
    angle: Annotated[float, Field(ge=-360, le=360)]
    axis: Literal["x", "y", "z"] = "z"


class Rattle(Step):
    """Random displacements from a normal distribution. `width` is its standard deviation in Å."""

    do: Literal["rattle"] = "rattle"
    width: Annotated[float, Field(gt=0, le=1)] = 0.05
    seed: int = 0


AnyStep = Annotated[
    Bulk | Molecule | Sheet | Nanotube | Nanoparticle | Solvent | Supercell | Slab | Vacuum | Fix | Adsorb | Place
    | Interface | Substitute | Vacancy | Interstitial | RandomAlloy | Strain | Rotate | Rattle,
    Field(discriminator="do"),
]  # fmt: skip
#: steps that create a structure (`solvent` may be the first step or a later one)
SOURCES = ("bulk", "molecule", "sheet", "nanotube", "nanoparticle", "solvent", "interface")


class Recipe(Step):
    """The steps that build a structure, in order."""

    version: Literal[1] = VERSION
    language: Literal["en", "ja"] = "en"
    steps: list[AnyStep] = Field(min_length=1, max_length=40)

    @model_validator(mode="after")
    def _order(self) -> "Recipe":
        for number, step in enumerate(self.steps):
            if number == 0 and step.do not in SOURCES:
                raise problem("first_step", do=step.do)
            if number and step.do in SOURCES and step.do != "solvent":
                raise problem("second_source", number=number + 1, do=step.do)
        return self
