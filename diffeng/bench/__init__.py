"""diffeng against its peers on this machine: one table, every answer checked before it is timed.

    python -m diffeng.bench, diffeng bench, python benchmarks/run.py        the same command

Rooms: functions.py (the workloads, plain NumPy), workloads.py (their sizes, inputs, and how much work they are), in_torch.py and in_jax.py (the same, as users of
those libraries write it), in_scan.py (loops as de.scan), peers.py (how each library is asked for a derivative), harness.py (check, then time in turns), fresh.py
(first calls and peak memory, in processes of their own), control.py (what the machine can do), table.py (ratios, text, Markdown), command.py (options and order).
Nothing of it is imported by diffeng itself, and a peer is imported when it is asked.
"""
