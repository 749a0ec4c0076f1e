"""`gnnpot mcp` over stdio with the SDK's own client, and what its tools refuse."""

import sys

import pytest
from ase.calculators.emt import EMT
from ase.io import read

from gnnpot.builder.recipe import Bulk, Recipe, Slab
from gnnpot.builder.tools import ToolLimits, Tools
from gnnpot.errors import BuilderError


@pytest.fixture
def place(tmp_path):
    return Tools(tmp_path / "structures", ToolLimits(atoms=200, steps=60), EMT())


def test_tools_build_relax_and_run(place):
    built = place.build_structure("Cu(111) 2x2, 3 layers, bottom layer fixed")
    assert built["atoms"] == 12 and built["fixed"] == 4 and "(111)" in built["explanation"]
    relaxed = place.relax("structure.extxyz", fmax=0.01)
    assert relaxed["converged"] and relaxed["energy_eV"] <= relaxed["initial_energy_eV"]
    ran = place.run_dynamics("relaxed.extxyz", temperature=300, steps=25)
    assert ran["steps"] == 25 and ran["temperature_K"] > 0
    place.build_recipe(Recipe(steps=[Bulk(formula="Cu")]), "bulk.extxyz")
    found = place.equation_of_state("bulk.extxyz")
    assert found["volume_A3"] == pytest.approx(4 * 11.57, rel=0.02)  # EMT's copper, a = 3.59 Å
    assert found["bulk_modulus_GPa"] == pytest.approx(134, rel=0.05)
    assert {"structure.extxyz", "bulk.extxyz"} <= set(place.list_files())
    assert "gnnpot-1" in place.list_models()


@pytest.mark.parametrize("name", ["../x.extxyz", "/etc/x.cif", "a/b.extxyz", "x.py", ".x.cif", "x.extxyz\n", ""])
def test_only_plain_files_of_the_folder(place, name):
    with pytest.raises(BuilderError, match="plain file name"):
        place.build_structure("bulk Cu", name)
    assert not list(place.folder.iterdir())


def test_links_size_and_time_are_limited(place, tmp_path):
    (place.folder / "link.extxyz").symlink_to(tmp_path / "outside.extxyz")
    with pytest.raises(BuilderError, match="link"):
        place.build_structure("bulk Cu", "link.extxyz")
    with pytest.raises(BuilderError, match="at most 200"):
        place.build_structure("Cu 10x10x10")
    with pytest.raises(BuilderError, match="at most 60"):
        place.run_dynamics("x.extxyz", steps=10**9)


def test_over_stdio(tmp_path):
    pytest.importorskip("mcp", reason="needs the package mcp")
    import anyio
    from mcp import ClientSession, StdioServerParameters, stdio_client

    command = ["-m", "gnnpot", "mcp", "--folder", str(tmp_path / "out")]

    async def talk():
        parameters = StdioServerParameters(command=sys.executable, args=command)
        async with stdio_client(parameters) as (incoming, outgoing), ClientSession(incoming, outgoing) as session:
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            recipe = Recipe(steps=[Bulk(formula="Pt"), Slab(miller=(1, 1, 1), layers=3)])
            data = recipe.model_dump(mode="json", exclude_none=True)
            good = await session.call_tool("build_recipe", {"recipe": data, "file": "pt.extxyz"})
            bad = await session.call_tool("build_structure", {"text": "bulk Unobtainium"})
            wrong = await session.call_tool("build_recipe", {"recipe": {"steps": [{"do": "execute", "code": "x"}]}})
            return tools, good, bad, wrong

    tools, good, bad, wrong = anyio.run(talk)
    assert set(tools) >= {"build_structure", "build_recipe", "relax", "run_dynamics", "list_models"}
    assert "steps" in str(tools["build_recipe"].input_schema)
    assert not good.is_error and len(read(tmp_path / "out" / "pt.extxyz")) == 3
    assert bad.is_error and "Unobtainium" in bad.content[0].text
    assert wrong.is_error
