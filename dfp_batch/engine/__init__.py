"""The engine: a pure scheduler, the stages of a pair, Ray to run them on. No torch math here."""
