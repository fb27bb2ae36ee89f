"""People, tokens and organisations: who may come in, and what they may see."""
