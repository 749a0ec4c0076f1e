"""Plug-ins: found without an import, one that is broken breaks nothing else, and names are taken once."""

import logging

import pytest

from gnnpot.errors import ConfigError, PluginError
from gnnpot.plugins import PROPERTIES, Registry
from gnnpot.properties.registry import REGISTRY, find_property, property_names

VOLUME = """
class volume:
    @staticmethod
    def calc(atoms, calculator):
        return atoms.get_volume()
no_property = 3
"""


def test_a_property_of_another_package_is_found(declare_plugin):
    from ase.build import bulk

    before = property_names()
    declare_plugin("gnnpot-volume", {PROPERTIES: {"volume": "volume"}}, VOLUME)
    assert set(property_names()) == {*before, "volume"}
    assert find_property("volume").calc(bulk("Cu", a=4.0), None) == pytest.approx(16.0)
    with pytest.raises(ConfigError, match="did you mean 'volume'"):
        find_property("volum")


def test_a_broken_package_is_named_and_others_work(declare_plugin):
    declare_plugin("gnnpot-broken", {PROPERTIES: {"broken": "x"}}, "import a_module_that_is_not_there")
    declare_plugin("gnnpot-exits", {PROPERTIES: {"exits": "x"}}, "raise SystemExit(3)")
    declare_plugin("gnnpot-volume", {PROPERTIES: {"volume": "volume", "number": "no_property", "gone": "gone"}}, VOLUME)
    assert {"broken", "exits", "volume"} <= set(property_names())
    find_property("volume")
    with pytest.raises(PluginError, match=r"gnnpot-broken 1.2: its 'broken' .*a_module_that_is_not_there.*uninstall"):
        find_property("broken")
    with pytest.raises(PluginError, match="gnnpot-exits 1.2: its 'exits'"):
        find_property("exits")
    with pytest.raises(PluginError, match="gnnpot-volume 1.2: its 'gone' .*AttributeError"):
        find_property("gone")
    with pytest.raises(PluginError, match=r"has no function 'calc\(atoms, calculator\)'"):
        find_property("number")


def test_nothing_is_imported_until_it_is_used(declare_plugin, tmp_path):
    mark = tmp_path / "imported"
    declare_plugin("gnnpot-lazy", {PROPERTIES: {"lazy": "lazy"}}, f"open({str(mark)!r}, 'w')\nlazy = 1")
    property_names()
    assert REGISTRY.plugin("lazy") is not None and not mark.exists()


def test_a_name_of_two_packages_is_refused_where_it_is_used(declare_plugin):
    declare_plugin("gnnpot-first", {PROPERTIES: {"volume": "volume", "one": "volume"}}, VOLUME)
    declare_plugin("gnnpot-second", {PROPERTIES: {"volume": "volume", "two": "volume"}}, VOLUME)
    with pytest.raises(PluginError, match="declared by gnnpot-second 1.2 and gnnpot-first 1.2"):
        find_property("volume")
    assert find_property("one") and find_property("two")


def test_a_name_of_gnnpot_keeps_its_meaning(declare_plugin, caplog):
    declare_plugin("gnnpot-first", {PROPERTIES: {"volume": "volume"}}, VOLUME)
    own = {"volume": 3}
    registry = Registry(PROPERTIES, "property", own=lambda: own, load=own.__getitem__, check=lambda plugin, found: 4)
    with caplog.at_level(logging.WARNING):
        assert registry.plugin("volume") is None and registry.find("volume") == 3
        assert registry.names() == ["volume"]
    assert "gnnpot-first 1.2: its 'volume' of gnnpot.properties is not used" in caplog.text
