"""Stands for zetta_utils, which is in no package registry: what docs/trainers/zetta_windows.py and specs need of it.

Names and behaviour are those of github.com/ZettaAI/zetta_utils f64f6cd.
"""
