"""What a program keeps in NVS, as MicroPython 1.24's ports/esp32 does."""

import textwrap

import pytest
from unit.simulator.programs import output, raised, start


def test_nvs_keeps_only_what_is_committed(sim):
    node = start(
        sim,
        """
        import esp32, machine
        nvs = esp32.NVS("fieldhand")
        buf = bytearray(16)
        if machine.reset_cause() == 1:
            nvs.set_blob("id", b"plant-1"); nvs.set_i32("boots", -7)
            nvs.commit()
            nvs.set_i32("boots", 8); nvs.set_i32("lost", 1)
            assert nvs.get_i32("boots") == 8
            machine.reset()
        print(nvs.get_i32("boots"), nvs.get_blob("id", buf), buf[:7])
        nvs.erase_key("id"); nvs.commit()
        """
        + textwrap.indent(raised("nvs.get_i32('lost')"), " " * 8),
    )
    node.wait_state("repl")
    assert node.console.lines() == [
        "-7 7 bytearray(b'plant-1')",
        "OSError(-4354, 'ESP_ERR_NVS_NOT_FOUND')",
    ]
    assert node.nvs == {"fieldhand": {"boots": -7}}


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("esp32.NVS('sixteen_letters_')", "OSError(-4361, 'ESP_ERR_NVS_KEY_TOO_LONG')"),
        ("nvs.set_i32('sixteen_letters_', 1)", "OSError(-4361, 'ESP_ERR_NVS_KEY_TOO_LONG')"),
        ("nvs.set_i32('n', 1 << 31)", "OverflowError"),
        ("nvs.get_i32('text')", "OSError(-4355, 'ESP_ERR_NVS_TYPE_MISMATCH')"),
        ("nvs.get_blob('text', bytearray(3))", "OSError(-4364, 'ESP_ERR_NVS_INVALID_LENGTH')"),
        ("nvs.erase_key('none')", "OSError(-4354, 'ESP_ERR_NVS_NOT_FOUND')"),
        ("nvs.set_blob('big', bytes(20200))", "OSError(-4357, 'ESP_ERR_NVS_NOT_ENOUGH_SPACE')"),
        ("nvs.set_blob('n', 3)", "TypeError"),
        ("esp32.Partition.mark_app_valid_cancel_rollback()", "OSError(-261,)"),
    ],
)
def test_what_nvs_refuses(sim, statement, error):
    program = "import esp32\nnvs = esp32.NVS('fieldhand')\n" + raised(statement)
    assert error in output(sim, program, nvs={"fieldhand": {"text": "four"}})[-1]


def test_nvs_is_set_from_outside(sim):
    node = start(
        sim,
        "import esp32\nb = bytearray(9)\nn = esp32.NVS('a').get_blob('k', b)\nprint(b[:n])\n",
        nvs={"a": {"k": "old"}},
    )
    node.wait_console("old")
    node.wait_state("repl")
    node.nvs["a"]["k"] = b"new"
    node.power_cut()
    node.start()
    node.wait_console("new")


def test_out_of_memory_leaves_the_wire_in_order(sim):
    lines = output(
        sim,
        """
        import esp32, gc
        nvs = esp32.NVS("a")
        small = bytearray(2)
        rest = []
        i = failed = 0
        try:
            while True:
                rest.append(bytearray(1024))
        except MemoryError:
            pass
        try:
            while True:
                rest.append([None])
        except MemoryError:
            pass
        for i in range(5):
            try:
                nvs.get_blob("big", small)
            except MemoryError:
                failed += 1
            except OSError:
                pass
        rest = None
        gc.collect()
        print(failed, nvs.get_i32("n"))
        """,
        nvs={"a": {"big": bytes(4000), "n": 42}},
    )
    assert lines[-1].endswith(" 42"), "\n".join(lines)
