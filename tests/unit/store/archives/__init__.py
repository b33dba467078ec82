"""Tests of archives of images."""
