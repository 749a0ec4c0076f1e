"""What runs in the processes of the server: building, reading and writing files, and jobs.

    python -m gnnpot.studio.worker builder|engine

Messages are lines of JSON on the standard input and output. A process first says `{"event": "ready"}`. A builder
answers each message with one line; an engine runs one job and sends its progress.
"""
