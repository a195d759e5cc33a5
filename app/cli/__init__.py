"""The commands: each in a file of its own, which imports what it needs when it runs."""
