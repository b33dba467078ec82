"""Layers as streams: compressed or not, tar to tar; nothing is ever unpacked to disk."""
