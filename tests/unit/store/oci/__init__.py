"""Tests of the values of image formats."""
