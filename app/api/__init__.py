"""The HTTP API that the web UIs' clients speak, below /sdapi/v1, over the same engine and queue as the page."""
