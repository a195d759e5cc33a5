"""One thread makes modules at a time.

While accelerate, diffusers and transformers make modules without weights, they replace functions of torch for the whole
process: modules that another thread makes meanwhile have no weights either.
"""

from __future__ import annotations

import threading

building = threading.RLock()
"""Held while modules are made: by a load, and by a look at what a checkpoint is made of."""
