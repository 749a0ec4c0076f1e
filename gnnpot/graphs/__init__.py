"""Crystals and molecules as graphs of atoms (nodes), neighbours (edges) and pairs of neighbours (triplets)."""

from gnnpot.graphs.graph import Graph, build_graph, undirected
from gnnpot.graphs.neighbors import Neighbors, neighbor_list, triplets

__all__ = ["Graph", "Neighbors", "build_graph", "neighbor_list", "triplets", "undirected"]
