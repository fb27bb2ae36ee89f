"""What a node's flash is to hold, made on the host: bytecode, node.json, images, MicroPython."""
