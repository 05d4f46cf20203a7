"""The finished log shipper: files over NATS to a central store; no line is lost, doubled or out of order.

`python -m support.shipper --help` says how to use it. It knows nothing of the notebooks, and imports
nothing else of `support`.
"""
