# heapsize: 96k
"""The outbox where the heap is full before its limit is reached."""

import gc

from fieldnode.outbox import Outbox

VALUES = {"ph": 7.26, "orp": 650.4, "chlorine": 0.9, "water_temperature": 27.9}
MANY = 1000  # over what the heap holds


def test_a_full_heap_drops_the_oldest_and_leaves_room_to_send():
    box = Outbox(MANY)
    for seq in range(MANY):
        box.append(seq, 2**30 + seq * 30000, VALUES)
    assert len(box) > 100 and len(box) + box.dropped == MANY, (len(box), box.dropped)
    gc.collect()
    assert gc.mem_free() > 5000, gc.mem_free()
    for seq in range(box.dropped, MANY):
        found, ms, values = box.next()
        assert found == seq and ms == 2**30 + seq * 30000 and set(values) == set(VALUES)
        box.discard(seq)
