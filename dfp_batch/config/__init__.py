"""What a run computes, from names and numbers; the only place of pydantic beside manifests."""
