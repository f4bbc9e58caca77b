"""The program ``stream-prune``. Without its own two small packages it says which extra has them."""

import importlib.util
import sys

INSTALL = "in the checkout, pip install '.[stream,mlflow,serve]' (or only the extra that you need)"

for _package in ("typer", "rich"):
    if importlib.util.find_spec(_package) is None:
        sys.exit(f"stream-prune: the package {_package!r} is not installed: {INSTALL}")
