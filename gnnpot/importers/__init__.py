"""Published weights of other packages, read from their files and turned into potentials of ours.

Each family has a module with

    convert(name: str, files: Mapping[str, Path]) -> tuple[Potential, Card]

where `files` maps the plain names of the published files to where they lie. Nothing in the files is executed.
"""
