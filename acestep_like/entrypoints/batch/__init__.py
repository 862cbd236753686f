"""Many clips from one configuration file, in the format of stable-audio-tools: read, planned, made, logged."""
