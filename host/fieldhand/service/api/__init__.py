"""The web server: routes, what they depend on, their errors and their document."""
