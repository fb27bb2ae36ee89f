"""What comes in, to whoever listens: Server-Sent Events and WebSockets."""
