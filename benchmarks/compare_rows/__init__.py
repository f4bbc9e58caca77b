"""The parts of the benchmark of rows."""
