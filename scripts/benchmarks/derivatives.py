"""Processor time of a heat flux and of Hessian-vector products, compared with forces, in float64 on one thread.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python scripts/benchmarks/derivatives.py gnnpot-1 nequix-oam-1-pft

64 atoms of rattled rock salt. Forces are computed by the calculator with its compiled backend. Times are the minimum of
three.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from rich.console import Console

import gnnpot
from gnnpot.engines.heat_flux import heat_flux
from gnnpot.engines.hessian import hessian_vector_products
from gnnpot.graphs.unfolded import unfold


def seconds(task: Callable[[], object], repeats: int = 3) -> float:
    """Processor time of a task, after a first run that compiles its kernels."""
    task()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        task()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    console = Console()
    rng = np.random.default_rng(0)
    for name in parser.parse_args().models:
        calculator = gnnpot.Calculator(name, dtype="float64")
        atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True).repeat(2)
        atoms.rattle(0.05, seed=0)
        thermalize_momenta(atoms, 300, rng=rng)
        directions = rng.standard_normal((5, len(atoms), 3))

        def forces() -> None:
            atoms.positions += 1e-9  # noqa: B023 - called within the loop
            calculator.get_forces(atoms)  # noqa: B023

        one = seconds(lambda: hessian_vector_products(atoms, calculator, directions[:1]))  # noqa: B023
        five = seconds(lambda: hessian_vector_products(atoms, calculator, directions))  # noqa: B023
        images = len(unfold(calculator.graph(atoms), calculator.potential.model.hops).owner)
        console.print(
            f"{name}: forces {seconds(forces):.3f} s, heat flux {seconds(lambda: heat_flux(atoms, calculator)):.2f} s "  # noqa: B023
            f"({images} atoms with images), first product {one:.3f} s, each further one {(five - one) / 4:.3f} s"
        )


if __name__ == "__main__":
    main()
