"""Patchbay: a browser studio for Stable Diffusion with LoRA prompt syntax. README.md maps this package."""

__version__ = "0.1.0"
