"""How long what may cut a node off is on trial: a setting (change.py), credentials (slots.py).

It is taken back unless a connection has held for CONFIRM_MS within REVERT_MS, or after REVERT_BOOTS
starts without.
"""

CONFIRM_MS = 60000
REVERT_MS = 600000
REVERT_BOOTS = 3
