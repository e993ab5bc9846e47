"""The engine: a pure scheduler, the stages of a pair, and Ray to run them on. No torch math here."""
