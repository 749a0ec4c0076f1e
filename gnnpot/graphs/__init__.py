"""Crystals and molecules as graphs of atoms (nodes), neighbours (edges) and pairs of neighbours (triplets).

Here belong the neighbour list, with and without a skin, triplets, `Graph`, and how much memory a graph needs. Features
of nodes and edges do not: models make them (`gnnpot.models`, `gnnpot.ops`). Files and labels are read in `gnnpot.data`.

    graph = build_graph(frame, cutoff=5.0)
"""

from gnnpot.graphs.graph import Graph, build_graph, undirected
from gnnpot.graphs.neighbors import Neighbors, neighbor_list, triplets

__all__ = ["Graph", "Neighbors", "build_graph", "neighbor_list", "triplets", "undirected"]
