"""Nodes before their first start: their tables, passwords and labels, and the broker's files."""
