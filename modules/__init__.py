"""Fenshen Studio: the rooms of the house. See docs/design.md for the map."""
