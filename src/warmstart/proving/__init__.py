"""Whether a training command goes on exactly after a kill: tried, and compared bit by bit.

    command, seed -> unkilled run -> killed and restarted run -> differences -> Proof

Nothing is known of the command but that it leaves checkpoints in a folder and goes on from them.
"""
