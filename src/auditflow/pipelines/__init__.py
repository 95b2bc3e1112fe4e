"""3 decide: every pipeline reads the journal, decides per event, hands batches to its sink, records outcomes.

``flow`` is that sentence as code. ``tail`` reads the journal once for all, ``decide`` holds condition,
sampling and transformers, ``batch`` is a batch on its way, ``dispatcher`` brings it to its end, ``destination``
knows whether its sink can be reached, ``gate`` whether somebody has paused the pipeline, ``recorder`` writes
what became of every event. ``dead_letter_replay`` delivers dead letters again; ``filter_reason`` explains what was filtered.
"""
