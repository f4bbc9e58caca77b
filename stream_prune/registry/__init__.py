"""The MLflow registry: publish, pull, and the sink of the journal's curves.

The only room that imports MLflow; its files do so when they are used, not when they are imported.
"""

from stream_prune.registry.config import RegistryConfig

__all__ = ["RegistryConfig"]
