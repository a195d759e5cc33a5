"""The one process: guards, routes, and Gradio mounted at its root."""
