"""Harnesses that damage files and kill runs, and compare what is left with what should be."""
