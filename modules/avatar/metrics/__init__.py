"""How well lips and sound agree, by the published measure: SyncNet's distance (LSE-D) and confidence (LSE-C)."""
