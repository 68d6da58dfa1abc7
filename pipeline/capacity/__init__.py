"""How much a system can carry: a small model, fed with what a vote was measured to cost."""
