"""Run one function of one test file: `micropython run_one.py FILE FUNCTION`."""

import sys

import fieldtest

path, function = sys.argv[1], sys.argv[2]
folder, _, name = path.rpartition("/")
sys.path.append(folder or ".")
try:
    getattr(__import__(name[:-3]), function)()
except fieldtest.Skip as exc:
    print("SKIP: %s" % exc.args[0])
    sys.exit(0)
# A test that ends the process early must not pass for one that ran to its end.
print("FIELDTEST PASSED")
