"""What nodes are told: sent, waited for, answered, and what must not be done now."""
