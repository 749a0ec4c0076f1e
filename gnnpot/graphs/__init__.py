"""Graphs of crystals and molecules: atoms (nodes), neighbours (edges) and pairs of neighbours (triplets).

This package has the neighbour list, with and without a skin, the triplets, `Graph`, and the estimate of the memory that
a graph needs. Features of nodes and edges are computed by the models (`gnnpot.models`, `gnnpot.ops`). Files and labels
are read by `gnnpot.data`.

    graph = build_graph(frame, cutoff=5.0)
"""

from gnnpot.graphs.graph import Graph, build_graph, undirected
from gnnpot.graphs.neighbors import Neighbors, neighbor_list, triplets

__all__ = ["Graph", "Neighbors", "build_graph", "neighbor_list", "triplets", "undirected"]
