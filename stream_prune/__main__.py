"""``python -m stream_prune``: the program ``stream-prune``, where it is not on the PATH."""

from stream_prune.cli.main import main

if __name__ == "__main__":
    main()
