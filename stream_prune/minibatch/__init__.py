"""The mini-batch log: windows of encoded events, each committed once, and its readers."""
