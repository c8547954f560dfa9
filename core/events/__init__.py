"""What leaves after a commit: subscriptions to changes and to the progress of jobs, in every process.

A change set's transaction notifies; each process then reads what was committed since it looked last, once per
workspace, and tells each subscriber what he may see of it. `core/eventcursor.py` says why nothing is told twice, or
lost.
"""
