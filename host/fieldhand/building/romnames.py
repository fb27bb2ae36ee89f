"""Names that MicroPython has in ROM: to use one costs a node no memory.

Those of `genhdr/qstrdefs.generated.h` of the unix port, 1.24, that the official images for the
ESP32 (1.24, 1.26), ESP32-S3 (1.26) and ESP32-C3 (1.25) hold as well.
"""

ROM = frozenset(
    """
    AF_INET AF_INET6 ARRAY AUTO ArithmeticError AssertionError AttributeError BFINT16 BFINT32
    BFINT8 BFUINT16 BFUINT32 BFUINT8 BF_LEN BF_POS BIG_ENDIAN BaseException BytesIO
    CancelledError DeflateIO EACCES EADDRINUSE EAGAIN EALREADY EBADF ECONNABORTED ECONNREFUSED
    ECONNRESET EEXIST EHOSTUNREACH EINPROGRESS EINVAL EIO EISDIR ENOBUFS ENODEV ENOENT ENOMEM
    ENOTCONN EOFError EOPNOTSUPP EPERM ETIMEDOUT Ellipsis Exception FLOAT32 FLOAT64 FileIO
    FrameBuffer FrameBuffer1 GS2_HMSB GS4_HMSB GS8 GZIP GeneratorExit INT INT16 INT32 INT64 INT8
    IOBase ImportError IndentationError IndexError KeyError KeyboardInterrupt LITTLE_ENDIAN LONG
    LONGLONG LockType LookupError MONO_HLSB MONO_HMSB MONO_VLSB MVLSB MemoryError NATIVE
    NameError NoneType NotImplemented NotImplementedError OSError OrderedDict OverflowError
    POLLERR POLLHUP POLLIN POLLOUT PTR RAW RGB565 RingIO RuntimeError SHORT SOCK_DGRAM SOCK_RAW
    SOCK_STREAM SOL_SOCKET SO_BROADCAST SO_REUSEADDR Signal StopAsyncIteration StopIteration
    StringIO SyntaxError SystemExit Task TaskQueue TextIOWrapper TypeError UINT UINT16 UINT32
    UINT64 UINT8 ULONG ULONGLONG USHORT UnicodeError VOID ValueError VfsLfs2 ViperTypeError ZLIB
    ZeroDivisionError _ __abs__ __add__ __aenter__ __aexit__ __aiter__ __and__ __anext__
    __bases__ __bool__ __build_class__ __call__ __class__ __complex__ __contains__ __del__
    __delattr__ __delete__ __delitem__ __dict__ __dir__ __divmod__ __enter__ __eq__ __exit__
    __file__ __float__ __floordiv__ __ge__ __get__ __getattr__ __getitem__ __globals__ __gt__
    __hash__ __iadd__ __import__ __init__ __int__ __invert__ __isub__ __iter__ __le__ __len__
    __lshift__ __lt__ __main__ __matmul__ __mod__ __module__ __mul__ __name__ __ne__ __neg__
    __new__ __next__ __or__ __path__ __pos__ __pow__ __qualname__ __radd__ __rand__
    __repl_print__ __repr__ __reversed__ __rfloordiv__ __rlshift__ __rmatmul__ __rmod__ __rmul__
    __ror__ __rpow__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__ __set__ __setattr__
    __setitem__ __str__ __sub__ __traceback__ __truediv__ __xor__ _asyncio _machine _mpy
    _task_queue _thread a2b_base64 abs abs_tol accept acos acosh acquire add addressof all
    allocate_lock any append appendleft args argv array asin asinh atan atan2 atanh b2a_base64
    bin binascii bind blit bool bound_method buffer buffering builtins bytearray bytearray_at
    bytecode byteorder bytes bytes_at calcsize callable cancel ceil center chdir choice chr
    classmethod clear clock close closure cmath code collect collections compile complex connect
    const copy copysign coro cos cosh count crc32 cur_task data decode default deflate degrees
    delattr deleter deque dict dict_view difference difference_update digest dir disable discard
    divmod doc done dump dumps e ellipse enable encode encoding end endswith enumerate erf erfc
    errno errorcode eval exceeded exec execfile exit exp expm1 extend fabs factorial file fileno
    fill fill_rect filter find float floor flush fmod format framebuf frexp from_bytes fromhex
    fromkeys frozenset function gamma gc generator get get_ident getaddrinfo getattr getcwd
    getrandbits getter getvalue globals gmtime group hasattr hash hashlib heap_lock heap_unlock
    heapify heappop heappush heapq help hex hexlify hline id idle ilistdir imag implementation
    index indices inf input insert int intersection intersection_update invert io ioctl ipoll
    isalpha isclose isdigit isdisjoint isenabled isfinite isinf isinstance islower isnan isspace
    issubclass issubset issuperset isupper items iter iterable iterator join json kbd_intr
    keepends key keys ldexp len lgamma libc_ver line list listdir listen little load loads
    locals localtime lock locked log log10 log2 lookahead lower lstrip machine main makefile map
    match math max maxsize mem mem16 mem32 mem8 mem_alloc mem_free mem_info memoryview
    micropython min mkdir mkfs mktime mode modf modify module modules mount mtime name
    namedtuple nan native newline next object oct off on open opt_level ord os pack pack_into
    partition path peek pend_throw ph_key phase pi pixel platform polar poll poly pop popitem
    popleft pow print print_exception progsize property ps1 ps2 ptr ptr16 ptr32 ptr8 push
    python_compiler qstr_info r radians randint random randrange range rb re read readblocks
    readinto readline readlines readonly readsize real rect recv recvfrom register rel_tol
    release remove rename replace repr reverse reversed rfind rindex rmdir round rpartition
    rsplit rstrip schedule scroll search seed seek select self send sendto sep separators set
    setattr setblocking setdefault setsockopt setter settimeout sha256 sin single sinh sizeof
    sleep sleep_ms sleep_us slice socket soft_reset sort sorted split splitlines sqrt stack_size
    stack_use start start_new_thread startswith stat state staticmethod statvfs stderr stdin
    stdout step stop str strip struct sub sum super symmetric_difference
    symmetric_difference_update sync sys tan tanh tau tell text threshold throw ticks_add
    ticks_cpu ticks_diff ticks_ms ticks_us time time_ns time_pulse_us to_bytes trunc tuple type
    uctypes uint umount unhexlify uniform union unlink unpack unpack_from unregister update
    upper urandom usys value values version version_info vfs viper vline websocket write
    writeblocks zip
    """.split()
)
