# Freezes the firmware into a MicroPython image: make -C ports/esp32 FROZEN_MANIFEST=.../manifest.py
include("$(PORT_DIR)/boards/manifest.py")
package("fieldnode")
package("fieldproto", base_path="../protocol")
module("main.py")
