# Freezes the firmware into a MicroPython image: make -C ports/esp32 FROZEN_MANIFEST=.../manifest.py
# What ports/esp32/boards/manifest.py has, as far as the node needs it, but for its _boot.py.
freeze("$(PORT_DIR)/modules", "flashbdev.py")
require("bundle-networking")
require("dht")
require("ds18x20")
require("onewire")
require("umqtt.simple")
package("fieldnode")
package("fieldproto", base_path="../protocol")
module("_boot.py")
module("main.py")
