"""The tables of a conductivity study on a terminal of 80 columns."""

from types import SimpleNamespace

import rich.console

from gnnpot.cli.console import to_table
from gnnpot.properties.conductivity.msd import Estimate
from gnnpot.properties.conductivity.tables import fit_rows, narrow_tables, transport_rows


def estimate(value: float) -> Estimate:
    return Estimate(value, 0.912345 * value, 1.123456 * value)


def transport(temperature: float, size: float) -> SimpleNamespace:
    return SimpleNamespace(
        temperature=temperature, time=1000.0, tracer=estimate(1.234e-8 * size), collective=estimate(2.345e-8 * size),
        haven_ratio=estimate(0.4567), nernst_einstein=estimate(12.345 * size), conductivity=estimate(23.456 * size),
        framework_share={"Ge": 1e-4}, framework_verdict="", collective_sufficient=False, sufficient=True,
    )  # fmt: skip


def study() -> SimpleNamespace:
    """A result with long numbers."""
    fit = SimpleNamespace(activation_energy=estimate(0.2134), at=lambda _: estimate(12.345), scatter=1.234)
    diffusion = SimpleNamespace(at=lambda _: estimate(1.234e-8))
    return SimpleNamespace(
        transports=(transport(350.0, 0.1), transport(500.0, 1.0), transport(1000.0, 1000.0)), nernst_einstein=fit,
        collective=fit, diffusion=diffusion, collective_diffusion=diffusion,
    )  # fmt: skip


def test_no_word_is_broken_in_80_columns():
    console = rich.console.Console(width=80)
    for title, rows in narrow_tables(study()):
        with console.capture() as printed:
            console.print(to_table(rows, title, compact=True))
        shown = printed.get().split()
        for text in (text for row in rows for text in row):
            assert set(text.split()) <= set(shown), (text, printed.get())


def test_the_parts_have_all_that_the_report_has():
    result = study()
    tables = [rows for _, rows in narrow_tables(result)]
    for whole, parts in ((transport_rows(result), tables[:2]), (fit_rows(result), tables[2:])):
        head, rows = whole
        for k, row in enumerate([head, *rows]):
            assert row == sum((part[k] if part is parts[0] else part[k][1:] for part in parts), ())
