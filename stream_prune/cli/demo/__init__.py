"""The whole loop on one machine: its processes, what they have done so far, and a view of it."""
