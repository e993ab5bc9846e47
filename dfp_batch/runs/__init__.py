"""What a run keeps on record: manifest, lease, attempts, and what is read from them."""
