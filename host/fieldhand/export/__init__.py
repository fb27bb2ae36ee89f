"""Configurations for other programs, made from the dialects: Grafana and Telegraf."""
