"""Reading spreadsheets that nobody has reason to trust: what they are, what is in them, or why they cannot be read.

Nothing in here knows the CRM. Files are read in a child process (`child.py`) with bounded memory and time; the server
(`reader.py`) only passes on the bytes of rows that the child has made ready for COPY.
"""
