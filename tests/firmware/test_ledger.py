# heapsize: 2M
# timeout: 120
"""The ledger of command ids on real littlefs: what it remembers, what a power cut leaves of it,
and what it costs the flash."""

import os
from binascii import crc32

from fieldtest import raises
from flash import Flash, umount

from fieldnode.ledger import LIMIT, Ledger

PUMP = {"duration_ms": 3000}
ENDED = {"ended": "done", "ran_ms": 3000, "amount_ml": 75}


def command(n, params=PUMP, name="pump_water"):
    """As ids of our host look."""
    return {"id": "cmd-%013d-abcdef" % n, "command": name, "params": params}


def mounted(blocks=32):
    flash = Flash(blocks).format().mount("/flash")
    os.chdir("/flash")
    return flash


def test_an_answer_is_found_again_also_after_a_reboot():
    mounted()
    book = Ledger()
    one = command(1)
    assert book.find(one) is None
    book.begin(one)
    assert tuple(book.find(one)) == (None, None, None)
    book.answered(one["id"], "accepted", {"duration_ms": 3000}, None, False)
    assert tuple(book.find(one)) == ("accepted", {"duration_ms": 3000}, None)
    book.answered(one["id"], "done", ENDED, None, True)
    for again in (book, Ledger()):
        assert tuple(again.find(one)) == ("done", ENDED, None)
        assert again.find(command(2)) is None and again.cut == []
    umount("/flash")


def test_the_first_answer_stays():
    mounted()
    book = Ledger()
    book.begin(command(1))
    book.answered(command(1)["id"], "failed", None, "no water", True)
    book.answered(command(1)["id"], "done", ENDED, None, True)
    assert tuple(Ledger().find(command(1))) == ("failed", None, "no water")
    umount("/flash")


def test_what_was_begun_and_not_ended_is_known_at_the_next_boot():
    mounted()
    book = Ledger()
    book.begin(command(1))
    book.answered(command(1)["id"], "accepted", {"duration_ms": 3000}, None, False)
    book.begin(command(2, name="restart", params={}))
    book.answered(command(2)["id"], "done", None, None, True)
    assert Ledger().cut == [(command(1)["id"], "pump_water")]
    umount("/flash")


def test_an_id_used_for_another_command_is_told_apart():
    mounted()
    book = Ledger()
    book.begin({"id": "1", "command": "set_pump", "params": {"state": 1, "actuator": 1}})
    same = {"id": "1", "command": "set_pump", "params": {"actuator": 1, "state": 1}}
    assert book.find(same) is not None  # whatever the order of its keys
    for name, params in (("set_pump", {"state": 0, "actuator": 1}), ("reboot", {})):
        other = {"id": "1", "command": name, "params": params}
        assert "another command" in str(raises(ValueError, book.find, other))
    umount("/flash")


def test_ids_of_the_same_checksum_are_told_apart():
    mounted()
    a, b = "2bf041c8e458", "420ba6416910"
    assert crc32(a.encode()) == crc32(b.encode())
    book = Ledger()
    for id in (a, b):
        book.begin({"id": id, "command": "restart", "params": {}})
        book.answered(id, "done", {"id": id}, None, True)
    for id in (a, b):
        assert book.find({"id": id, "command": "restart", "params": {}})[1] == {"id": id}
    umount("/flash")


def test_the_oldest_is_forgotten_first_also_after_a_reboot():
    mounted()
    book = Ledger()
    for n in range(LIMIT + 5):
        book.begin(command(n))
        book.answered(command(n)["id"], "done", None, None, True)
        if n == LIMIT:
            book = Ledger()
    for again in (book, Ledger()):
        known = [n for n in range(LIMIT + 5) if again.find(command(n)) is not None]
        assert known == list(range(5, LIMIT + 5)), known
    assert len(os.listdir("ledger")) == LIMIT
    umount("/flash")


def test_a_late_answer_to_a_forgotten_command_harms_no_other():
    mounted()
    book = Ledger()
    for n in range(LIMIT + 1):
        book.begin(command(n))
    book.answered(command(0)["id"], "done", ENDED, None, True)
    assert book.find(command(LIMIT))[0] is None and book.find(command(0)) is None
    umount("/flash")


def test_a_damaged_file_costs_only_its_command():
    mounted()
    book = Ledger()
    for n in range(4):
        book.begin(command(n))
        book.answered(command(n)["id"], "done", None, None, True)
    for slot, junk in ((1, b"\xff\x00"), (2, b"{}"), (3, b"[1,2]")):
        with open("ledger/%d" % slot, "wb") as file:
            file.write(junk)
    book = Ledger()
    known = [n for n in range(4) if book.find(command(n)) is not None]
    assert known == [3], known  # commands 0 to 3 are in files 1 to 4
    book.begin(command(9))
    assert Ledger().find(command(9)) is not None
    umount("/flash")


def test_a_command_that_cannot_be_noted_is_not():
    flash = mounted()
    book = Ledger()
    book.begin(command(1))
    flash.fail = 5
    raises(OSError, book.begin, command(2))
    raises(OSError, book.answered, command(1)["id"], "done", None, None, True)
    flash.fail = 0
    assert book.find(command(2)) is None
    book.begin(command(3))
    assert Ledger().find(command(3)) is not None
    umount("/flash")


def test_a_power_cut_at_any_write_forgets_no_command_that_may_have_begun():
    """Cuts before, in the middle of and after every program and erase of 40 commands."""
    flash = mounted(16)
    begun = []  # ids whose begin() had returned
    ended = []
    cuts = [0]

    def check(flash):
        size = flash.pending()
        for done in (0, size // 2 + 1, size - 1):
            copy = flash.torn(done)
            copy.mount("/cut")
            book = Ledger("/cut/ledger")
            for n in begun[-LIMIT + 1 :]:
                found = book.find(command(n))
                assert found is not None, "command %d is forgotten" % n
                if n in ended:
                    assert tuple(found) == ("done", ENDED, None), found
                else:
                    assert found[0] in (None, "done"), found
            os.umount("/cut")
            cuts[0] += 1

    flash.before = check
    book = Ledger()
    for n in range(LIMIT + 8):
        if n > 4 and n < LIMIT - 2:
            flash.before = None  # the same again and again: the checks take their time
        else:
            flash.before = check
        book.begin(command(n))
        begun.append(n)
        book.answered(command(n)["id"], "done", ENDED, None, True)
        ended.append(n)
    print("%d power cuts" % cuts[0])
    assert cuts[0] > 150, cuts
    umount("/flash")


def test_wear():
    """A tenth of an erase a command: 100,000 erases of 400 blocks last a command a minute for
    centuries."""
    flash = mounted(64)
    book = Ledger()
    for n in range(2 * LIMIT):
        book.begin(command(n))
        book.answered(command(n)["id"], "done", ENDED, None, True)
    before, count = flash.erases, 500
    for n in range(2 * LIMIT, 2 * LIMIT + count):
        book.begin(command(n))
        book.answered(command(n)["id"], "done", ENDED, None, True)
    cost = (flash.erases - before) / count
    print("%.3f erases a command" % cost)
    assert cost < 0.15, cost
    assert os.stat("ledger/7")[6] <= 128  # littlefs keeps no more in the directory
    umount("/flash")
