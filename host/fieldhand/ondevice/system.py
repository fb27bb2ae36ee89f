# Versions, memory and file system.


def run(arguments, result):
    import gc
    import sys

    gc.collect()
    result["free"] = gc.mem_free()
    result["heap"] = gc.mem_free() + gc.mem_alloc()
    result["block"] = _largest(gc.mem_free())
    result["micropython"] = ".".join([str(n) for n in sys.implementation.version[:3]])
    result["word"] = 8 if sys.maxsize > 0x7FFFFFFF else 4
    result["machine"] = sys.implementation._machine
    mpy = getattr(sys.implementation, "_mpy", 0)
    result["mpy"] = [mpy & 255, mpy >> 8 & 3]
    try:
        import machine

        result["mhz"] = machine.freq() // 1000000
        import esp32

        regions = esp32.idf_heap_info(esp32.HEAP_DATA)
        result["idf"] = [sum([r[1] for r in regions]), max([r[2] for r in regions])]
    except (ImportError, AttributeError, OSError):
        pass
    try:
        from fieldnode.version import VERSION

        result["firmware"] = VERSION
    except Exception as error:  # whatever a foreign or damaged module raises
        result["import"] = "%s: %s" % (type(error).__name__, error)
    _flash(result, arguments.get("root", "/"))


def _largest(limit):
    low, high = 0, limit
    while high - low > 256:
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
    return low


def _flash(result, root):
    import os

    files = []
    bad = []
    left = [1000]
    try:
        stat = os.statvfs(root)
        result["size"] = stat[1] * stat[2]
        # littlefs counts blocks that share data twice: a full one has less than none, unsigned.
        result["room"] = stat[0] * stat[3] if stat[3] <= stat[2] else 0
        _walk("", files, bad, left)
    except OSError as error:
        bad.append([root, str(error)])
    result["files"] = len(files)
    result["bad"] = bad[:20]


def _walk(folder, files, bad, left):
    import os

    for entry in os.ilistdir(folder or "."):
        path = folder + entry[0]
        left[0] -= 1
        if left[0] < 0:
            return
        try:
            if entry[1] != 0x8000 and os.stat(path)[0] & 0x4000:
                _walk(path + "/", files, bad, left)
            else:
                files.append(path)
                _check(path, bad)
        except OSError as error:
            bad.append([path, "cannot be read (%s)" % error])


def _check(path, bad):
    import sys

    buffer = bytearray(512)
    head = None
    with open(path, "rb") as file:
        while True:
            n = file.readinto(buffer)
            if head is None:
                head = bytes(buffer[: min(n, 2)])
            if not n:
                break
    if path.endswith(".mpy"):
        version = getattr(sys.implementation, "_mpy", 0) & 255
        if len(head) < 2 or head[0] != 77:
            bad.append([path, "is no compiled module"])
        elif head[1] != version:
            bad.append([path, "is compiled for mpy format %d" % head[1]])
    elif path.endswith(".json"):
        import json

        try:
            with open(path) as file:
                json.load(file)
        except (ValueError, UnicodeError):
            bad.append([path, "is no JSON"])
