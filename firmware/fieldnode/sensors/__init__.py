"""Sensors: a driver a module; `build` makes those node.json names."""
