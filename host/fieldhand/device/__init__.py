"""A board on a cable: its REPL, its files, its console."""
