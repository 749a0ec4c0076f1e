"""What a potential predicts of matter: one property a file or folder.

Here belongs what calculates a measurable quantity from structures and a calculator, with its uncertainty; not what
moves atoms (`engines`), nor what trains. Others call `calc(atoms, calculator, ...) -> result`, a frozen dataclass with
units, `to_json()` and `plot(path)`.
"""
