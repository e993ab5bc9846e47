"""How long fusing takes and how much memory it needs here, step by step, beside other programs."""
