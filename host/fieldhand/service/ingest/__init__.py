"""MQTT to the database: receive, read, store, and only then acknowledge."""
