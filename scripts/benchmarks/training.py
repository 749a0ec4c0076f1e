"""Cost of pretraining: frames per second of reading, building graphs and training, and an estimate for GPUs.

    python scripts/benchmarks/training.py mptrj.extxyz.gz configs/pretrain-*.yaml

All times are processor times of this process on one thread, so that they do not include other load of the machine.

- reading: a store of the given frames, repeated until it exceeds the caches of the readers, in the order of training.
- step: loss of energies, forces, stresses (and magnetic moments) of batches of the given frames, its derivative with
  respect to the weights, and an optimiser step, at the model size of each configuration. Graphs are built beforehand;
  building them, which worker processes do during training, is timed separately.
- plain: the same with second derivatives by PyTorch, as on GPUs; the CPU has its own kernels.
- estimate, from the plain step: time for the configuration's epochs over `--frames` frames on `--gpus` devices. It
  assumes that a GPU is faster than one core of this machine by the ratio of their peak performances in single precision
  (`--gpu-tflops`, as specified, over that of a large matrix product measured here), times `--efficiency`. Nothing was
  measured on a GPU.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_geometric.data import Batch

from gnnpot.data import ElementReferences, Frame, FrameStore, write_store
from gnnpot.data.structures import batches_of
from gnnpot.graphs import Graph
from gnnpot.models import HDNNP
from gnnpot.models.base import AtomicOutput, EnergyModel, with_gradient
from gnnpot.models.equivariant import EquivariantModel
from gnnpot.potential import Potential
from gnnpot.training.config import DataConfig, TrainConfig, read_config
from gnnpot.training.datasets import Concatenation, TrainingDataset
from gnnpot.training.loss import label_errors, loss_sums, total_loss
from gnnpot.training.module import TrainModule
from gnnpot.training.prepare import PreparedData, build_potential
from gnnpot.training.resolve_model import resolve_model
from gnnpot.training.sampler import mixed
from gnnpot.training.stores import read_labelled
from gnnpot.training.subsets import Subset


def rate(work: Callable[[], int], seconds: float) -> float:
    """Amount of work returned by `work` per second of processor time; the first call is not counted."""
    work()
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        done += work()
    return done / (time.process_time() - start)


def peak_gflops(seconds: float) -> float:
    """Performance of a product of 2048 x 2048 matrices in single precision on one thread."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)

    def work() -> int:
        torch.mm(a, b)
        return 2 * 2048**3

    return rate(work, seconds) / 1e9


def reading_rate(store: FrameStore, seconds: float) -> float:
    """Frames read per second, in the order of an epoch."""
    frames = Concatenation([TrainingDataset("train", Subset(store, np.arange(len(store))))])
    order = chain.from_iterable(mixed(frames.sampling_weights, seed=0, epoch=k).tolist() for k in range(10**6))

    def work() -> int:
        for i in islice(order, 1024):
            frames[i]
        return 1024

    return rate(work, seconds)


def graph_rate(potential: Potential, frames: list[Frame], seconds: float) -> float:
    """Graphs built per second."""
    turn = chain.from_iterable(repeat(frames))
    return rate(lambda: len([potential.graph(frame, labels=True) for frame in islice(turn, 16)]), seconds)


def potential_of(config: TrainConfig, store: FrameStore, resolved: Path) -> Potential:
    """Model with random weights; symmetry functions chosen from the frames are written to `resolved`."""
    part = Subset(store, np.arange(len(store)))
    source = TrainingDataset("train", part)
    elements = tuple(store.manifest.elements)
    references = ElementReferences.fit(store)
    model = resolve_model(config.model, elements, Concatenation([source]).evenly_spaced, resolved)
    return build_potential(config, PreparedData(part, part, None, elements, references, 1.0, (source,), model))


def plain(model: EnergyModel) -> Callable[[Graph], tuple[AtomicOutput, Tensor]]:
    """`model.energies_and_gradient` without CPU kernels; for an HDNNP it needs only two products."""
    if isinstance(model, HDNNP):
        return model.energies_and_gradient
    atoms = partial(model._atoms, operators=model) if isinstance(model, EquivariantModel) else model
    return partial(with_gradient, atoms)


def kept_graph(potential: Potential, frame: Frame) -> Graph:
    """Graphs in the form in which training keeps them in memory."""
    return potential.model.precompute(potential.graph(frame, labels=True))


def training_rate(potential: Potential, config: TrainConfig, batches: list[Batch], seconds: float) -> float:
    """Frames per second of complete optimiser steps."""
    optimizer = TrainModule(potential, config, 1, 1.0).configure_optimizers()
    turn = chain.from_iterable(repeat(batches))

    def work() -> int:
        batch = next(turn)
        optimizer.zero_grad()
        errors = label_errors(potential(batch, stress=config.loss.stress > 0, training=True), batch)
        sums, counts = loss_sums(errors, config.loss)
        total_loss(sums, counts, config.loss).backward()
        optimizer.step()
        return batch.num_graphs

    return rate(work, seconds)


def main(
    data: Annotated[Path, typer.Argument(help="Labelled frames: a file or a store.")],
    configs: Annotated[list[Path], typer.Argument(help="Configurations, one row of the table each.")],
    atoms: Annotated[int, typer.Option(help="Number of atoms in a batch.")] = 256,
    seconds: Annotated[float, typer.Option(help="Processor time (s) for each measurement.")] = 20.0,
    repeats: Annotated[int, typer.Option(help="Repetitions of the frames in the store that is read.")] = 20,
    frames: Annotated[int, typer.Option(help="Number of frames of the data set for the estimate.")] = 1_580_395,
    gpus: Annotated[int, typer.Option(help="Number of GPUs for the estimate.")] = 8,
    gpu_tflops: Annotated[
        float, typer.Option(help="Peak performance of a GPU in single precision; A100: 19.5.")
    ] = 19.5,
    efficiency: Annotated[float, typer.Option(help="Assumed fraction of the ratio of peak performances.")] = 0.25,
) -> None:
    """Measure on this machine, and estimate the cost on GPUs."""
    torch.set_num_threads(1)
    console = Console(width=max(Console().width, 120))
    known = list(read_labelled([data], DataConfig(train=data)))
    with tempfile.TemporaryDirectory() as folder:
        single = write_store(known, Path(folder) / "single.store")
        store = write_store(chain.from_iterable(repeat(known, repeats)), Path(folder) / "repeated.store")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reading = reading_rate(store, seconds)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        peak = peak_gflops(seconds / 4)
        ratio = 1000 * gpu_tflops / peak
        mean = store.manifest.atoms / len(store)
        console.print(
            f"{len(store):,} frames of {mean:.1f} atoms: {reading:.0f} read per second, {grown:.0f} MB more memory; "
            f"matrix product {peak:.0f} GFLOP/s, so a GPU of {gpu_tflops:g} TFLOP/s is {ratio:.0f} such cores"
        )
        measured = ("graphs/s", "frames/s", "atoms/s", "plain frames/s")
        head = ("configuration", "parameters", *measured, "GPU frames/s", "GPU h", "h")
        assumed = f"estimate for {frames:,} frames on {gpus} GPUs, {efficiency:.0%} of the ratio of peaks"
        table = Table(*head, title=f"measured on one core; {assumed}")
        for number, path in enumerate(configs):
            config = read_config(path)
            potential = potential_of(config, single, Path(folder) / f"{number}.json")
            ahead = list(islice(batches_of(chain.from_iterable(repeat(known)), atoms), 24))
            graphs = graph_rate(potential, known, seconds / 2)
            batches = [Batch.from_data_list([kept_graph(potential, f) for f in group]) for group in ahead]
            found = training_rate(potential, config, batches, seconds)
            potential.model.energies_and_gradient = plain(potential.model)
            found_plain = training_rate(potential, config, batches, seconds)
            per_batch = sum(len(f) for group in ahead for f in group) / sum(map(len, ahead))
            on_gpu = found_plain * ratio * efficiency
            hours = config.epochs * frames / on_gpu / 3600
            parameters = sum(p.numel() for p in potential.parameters())
            row = (graphs, found, found * per_batch, found_plain, on_gpu, hours, hours / gpus)
            table.add_row(path.stem, f"{parameters:,}", *(f"{value:.3g}" for value in row))
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
