"""The program of the worker processes: building structures, reading and writing files, and running jobs.

    python -m gnnpot.studio.worker builder|engine

Messages are lines of JSON on the standard input and output. A process first sends `{"event": "ready"}`. A builder
answers each message with one line. An engine runs one job and sends its progress.
"""
