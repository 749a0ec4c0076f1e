"""An architecture (`schnet`), a reader (`engrad`) and a property (`cohesion`) for gnnpot."""
