"""The host service: stores every reading, answers commands, shows it all live.

Optional: `pip install 'fieldhand[service]'`, then `fieldhand serve`. Nothing else in Fieldhand
imports this package.
"""
