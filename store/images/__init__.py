"""The images in the store: what a name stands for, what is held of it."""
