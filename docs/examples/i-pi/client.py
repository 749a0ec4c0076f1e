"""Energies, forces and virials for i-PI: python client.py init.extxyz [address]."""

import sys

from ase.calculators.socketio import SocketClient
from ase.io import read

import gnnpot

atoms = read(sys.argv[1])
atoms.calc = gnnpot.Calculator("fast", dtype="float64")
SocketClient(unixsocket=sys.argv[2] if len(sys.argv) > 2 else "gnnpot").run(atoms, use_stress=True)
