"""A complete board in one go, over its cable: what is written where, and whether it runs then."""
