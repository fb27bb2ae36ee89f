"""Which commands are not carried out, and why."""

from micropython import const

COMMAND_MAX_AGE_S = const(300)  # and as far in the future: then one of the clocks is wrong
BUSY_FROM = const(12)  # answers that wait: no further command is carried out
# Carried out twice, these leave what carrying them out once does.
_REPEATABLE = ("sample", "set_interval", "set_led", "set_target")


def stale(values, retained, now):
    """Why a message was not said just now, or None. `now` is the Unix time, None if unknown."""
    if retained:
        return "retained: may be stale"
    time = values.get("time")
    if time is None or now is None:
        return None
    if now - time > COMMAND_MAX_AGE_S:
        return "expired: %d s old, the limit is %d s" % (now - time, COMMAND_MAX_AGE_S)
    if time - now > COMMAND_MAX_AGE_S:
        return "%d s in the future: the sender's clock or the node's is wrong" % (time - now)
    return None


def unfit(command, dup, node):
    """Why a decoded command is not to be carried out now, or None."""
    if switches_off(command):
        return None
    why = restarting(node)
    if why:
        return why
    # Without an id nobody knows whether it was carried out. Not to water is told and can be made
    # good; to water twice cannot.
    if dup and command["id"] is None and command["action"] not in _REPEATABLE:
        return "may have been carried out: it was delivered before, and has no id"
    if node.notices.replies() >= BUSY_FROM:
        return "busy: %d answers wait to be sent" % BUSY_FROM
    return None


def restarting(node):
    """Why nothing is begun or kept any more, or None."""
    return "the node is about to restart" if node.restarting else None


def switches_off(command):
    """What is never refused for want of room, of flash or of certainty."""
    return command["action"] == "actuate" and not command["params"]["state"]
