"""What a checkpoint would resume of a run, and what not.

    path -> diagnose -> Diagnosis

Checkpoints of ours say it themselves, in their run state.  In those of others pieces are recognised
by their structure: an optimizer's state dict, a loader's, the state of a random generator.
"""
