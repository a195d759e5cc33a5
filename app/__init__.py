"""Patchbay: a browser studio for Stable Diffusion with LoRA prompt syntax. README.md maps this package."""
