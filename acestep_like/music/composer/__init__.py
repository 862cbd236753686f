"""The composer: from a plan to the notes of every part. Used by planning and by the training corpus alike."""
