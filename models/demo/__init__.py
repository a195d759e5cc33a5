"""The recipe of the demo model: pictures, captions, training and evaluation, all from seeds."""
