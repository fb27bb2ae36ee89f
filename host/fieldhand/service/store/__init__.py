"""What the service keeps: all SQL is here.

One module per subject, functions that take a SQLAlchemy connection; `database.Database` hands
connections out. Times are Unix seconds.
"""
