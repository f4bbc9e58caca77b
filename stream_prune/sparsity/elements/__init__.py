"""Elements: single weights held at zero by masks; small at rest, no cheaper to compute."""
