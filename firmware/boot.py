# Nothing here: main.py puts the outputs off first, and a fault in boot.py would be one nobody sees.
